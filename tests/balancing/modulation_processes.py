"""What each of two processes does in the tests of the modulating rules: `modulation_processes.py RANK FOLDER`."""

from balancing_samples import STEP, model_of, parts_of
from process_pair import as_one_of_two, whole_training
from torch import Tensor
from training_samples import Batches, make_loop, samples

from awase.config import BalancingConfig
from awase.distributed import World

# (fusion, options, accumulate): most samples lack audio, so that a process may reach audio's encoder alone, and the
# last batch of 21 has one sample, so that the second process has none.
CASES = {
    "ogm_ge": ("concat", {"alpha": 0.7}, 1),
    "ogm_ge-accumulate": ("sum", {"several": "mean", "end_epoch": 1}, 2),
    "pmr": ("concat", {}, 1),
    "pmr-soft": ("concat", {"soft": True, "end_epoch": 1}, 2),
    "opm": ("concat", {"start_epoch": 0, "p_exe": 0.8}, 1),
    "opm-accumulate": ("sum", {"start_epoch": 1, "p_exe": 1.0}, 2),
    "mla": ("shared_head", {}, 1),
    "mla-accumulate": ("shared_head", {}, 2),
}


def train(name: str, world: World) -> dict[str, Tensor]:
    """Weights, the rule's state, gradients before each step, and losses of one case, in the world given."""
    fusion, options, accumulate = CASES[name]
    config = STEP.model_copy(update={"epochs": 3, "batch_size": 5, "accumulate": accumulate, "select": "last"})
    model = model_of(fusion)
    batches = Batches(samples(21, absent=0.7), 5, world.rank, world.size)
    rule = BalancingConfig(name=name.partition("-")[0], options=options)
    loop = make_loop(model, config, parts_of(model), batches, rule=rule, world=world)
    return whole_training(model, loop)


if __name__ == "__main__":
    as_one_of_two(CASES, train)
