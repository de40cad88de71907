"""What each of two processes does in the tests of distributed training: `two_processes.py RANK FOLDER`."""

import sys
import warnings
from datetime import timedelta
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import distributed as dist

sys.path.insert(0, str(Path(__file__).parent.parent / "training"))

from row_cases import ROW_CASES, SPLITS, share_of
from training_samples import Batches, make_loop, plain, samples, tiny_model

from awase.config import TrainConfig
from awase.distributed import ALONE, World, current_world

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
    gradients: list[dict[str, torch.Tensor]] = []
    step = loop.optimiser.step

    def noted() -> None:
        gradients.append({key: p.grad.clone() for key, p in loop.parameters.items() if p.grad is not None})
        step()

    loop.optimiser.step = noted
    result = loop.run()
    tensors = {f"weights|{key}": value.clone() for key, value in model.state_dict().items()}
    for number, found in enumerate(gradients):
        tensors |= {f"gradient|{number}|{key}": value for key, value in found.items()}
    tensors["losses"] = torch.tensor([entry.train_loss for entry in result.curve], dtype=torch.float64)
    return tensors


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


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    rendezvous = f"file://{folder / 'rendezvous'}"
    assert current_world() == ALONE
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    world = current_world()
    assert world == World(rank, 2)
    assert world.is_first == (rank == 0)
    save_file(sums(world), folder / f"sums-{rank}.safetensors")
    for name in CASES:
        save_file(train(name, world), folder / f"{name}-{rank}.safetensors")
    for split in SPLITS:
        for name, case in ROW_CASES.items():
            save_file(case(share_of(split, rank), world), folder / f"{name}-{split}-{rank}.safetensors")
    world.barrier()
    dist.destroy_process_group()
    assert current_world() == ALONE


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(int(sys.argv[1]), Path(sys.argv[2]))
