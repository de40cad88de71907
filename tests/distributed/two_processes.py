"""What each of two processes does in the tests of distributed training: `two_processes.py RANK FOLDER`."""

from pathlib import Path

import torch
from process_pair import as_one_of_two, whole_training
from row_cases import ROW_CASES, SPLITS, share_of
from safetensors.torch import save_file
from training_samples import Batches, make_loop, plain, samples, tiny_model

from awase.config import TrainConfig
from awase.distributed import World

BASE = TrainConfig(epochs=3, batch_size=5, learning_rate=1e-2)
CASES = {
    "adamw-average": (BASE.model_copy(update={"average": "ema", "clip_norm": 0.3}), "late_mean", 23, 0.3),
    "sgd-accumulate": (BASE.model_copy(update={"optimiser": "sgd", "accumulate": 2}), "late_mean", 22, 0.3),
    # Most samples lack audio, so that often one process alone, or none, reaches audio's encoder and stand-in; the last
    # batch has one sample, so that the second process has none.
    "absent-on-one": (BASE.model_copy(update={"select": "last"}), "concat", 21, 0.7),
}


def train(name: str, world: World) -> dict[str, torch.Tensor]:
    """Weights, gradients before each step, and losses of one case, in the world given."""
    config, fusion, num, absent = CASES[name]
    model = plain(tiny_model(fusion, norm=False))
    batches = Batches(samples(num, absent), 5, world.rank, world.size)
    train_parts = ("*.encoder", "fusion" if fusion == "concat" else "*.head")
    loop = make_loop(model, config, train_parts, batches, world=world)
    return whole_training(model, loop)


def sums(world: World) -> dict[str, torch.Tensor]:
    """Every process's tensors after their sum."""
    tensors = [
        torch.full((2, 3), 1.0 + world.rank),
        torch.tensor(10.0 * (1 + world.rank), dtype=torch.float64),
        torch.arange(5.0)[::2] * (1 + world.rank),
        torch.nn.Parameter(torch.ones(3)),
    ]
    world.sum_(tensors)
    world.sum_([])
    return {f"sum{number}": tensor.detach().clone() for number, tensor in enumerate(tensors)}


def rows_and_sums(world: World, folder: Path) -> None:
    """The sums, and every case of rows for every way to split them."""
    save_file(sums(world), folder / f"sums-{world.rank}.safetensors")
    for split in SPLITS:
        for name, case in ROW_CASES.items():
            save_file(case(share_of(split, world.rank), world), folder / f"{name}-{split}-{world.rank}.safetensors")


if __name__ == "__main__":
    as_one_of_two(CASES, train, rows_and_sums)
