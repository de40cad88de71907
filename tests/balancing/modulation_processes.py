"""What each of two processes does in the tests of the modulating rules: `modulation_processes.py RANK FOLDER`."""

import sys
import warnings
from datetime import timedelta
from pathlib import Path

import torch
from balancing_samples import STEP, model_of, parts_of
from safetensors.torch import save_file
from torch import distributed as dist
from training_samples import Batches, make_loop, samples

from awase.config import BalancingConfig
from awase.distributed import World, current_world

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


def train(name: str, world: World) -> dict[str, torch.Tensor]:
    """Weights, the rule's state, gradients before each step, and losses of one case, in the world given."""
    fusion, options, accumulate = CASES[name]
    config = STEP.model_copy(update={"epochs": 3, "batch_size": 5, "accumulate": accumulate, "select": "last"})
    model = model_of(fusion)
    batches = Batches(samples(21, absent=0.7), 5, world.rank, world.size)
    rule = BalancingConfig(name=name.partition("-")[0], options=options)
    loop = make_loop(model, config, parts_of(model), batches, rule=rule, world=world)
    gradients: list[dict[str, torch.Tensor]] = []
    step = loop.optimiser.step

    def noted() -> None:
        gradients.append({key: p.grad.clone() for key, p in loop.parameters.items() if p.grad is not None})
        step()

    loop.optimiser.step = noted
    result = loop.run()
    tensors = {f"weights|{key}": value.clone() for key, value in model.state_dict().items()}
    tensors |= {f"rule|{key}": value.clone() for key, value in loop.work.rule.state_dict().items()}
    for number, found in enumerate(gradients):
        tensors |= {f"gradient|{number}|{key}": value for key, value in found.items()}
    tensors["losses"] = torch.tensor([entry.train_loss for entry in result.curve], dtype=torch.float64)
    return tensors


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    rendezvous = f"file://{folder / 'rendezvous'}"
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    world = current_world()
    for name in CASES:
        save_file(train(name, world), folder / f"{name}-{rank}.safetensors")
    world.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(int(sys.argv[1]), Path(sys.argv[2]))
