"""Two real processes beside one: the test starts a script twice, each trains the same cases and writes what it found.

The script is called `SCRIPT RANK FOLDER`, and `as_one_of_two` is the whole of it.
"""

import faulthandler
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch import distributed as dist

from awase.distributed import ALONE, World, current_world
from awase.training.loop import Loop


def run_two(script: Path, folder: Path) -> Path:
    """The folder, when both processes have written into it and ended well."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(folder)], stderr=subprocess.PIPE, text=True, env=environment
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=180)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return folder


def as_one_of_two(
    cases: Iterable[str],
    train: Callable[[str, World], dict[str, Tensor]],
    more: Callable[[World, Path], None] | None = None,
) -> None:
    """What one of the processes does: `NAME-RANK.safetensors` for every case, and `more`; a warning is an error."""
    faulthandler.enable()  # an abort says where
    warnings.simplefilter("error")
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    rendezvous = f"file://{folder / 'rendezvous'}"
    assert current_world() == ALONE
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    world = current_world()
    assert world == World(rank, 2)
    assert world.is_first == (rank == 0)
    for name in cases:
        save_file(train(name, world), folder / f"{name}-{rank}.safetensors")
    if more is not None:
        more(world, folder)
    world.barrier()
    dist.destroy_process_group()
    assert current_world() == ALONE
    # All is written. On a busy machine torch now and then aborts while Python ends ("terminate called without an
    # active exception"), which says nothing of what was computed.
    sys.stderr.flush()
    os._exit(0)


def noted(loop: Loop) -> list[dict[str, Tensor]]:
    """Runs the loop; the gradients before each of its steps, by parameter."""
    found: list[dict[str, Tensor]] = []
    step = loop.optimiser.step

    def note() -> None:
        found.append({key: p.grad.clone() for key, p in loop.parameters.items() if p.grad is not None})
        step()

    loop.optimiser.step = note
    loop.run()
    return found


def whole_training(model: nn.Module, loop: Loop) -> dict[str, Tensor]:
    """Runs the loop: weights, gradients before each step, state of the balancing rule and losses, by one name each."""
    gradients = noted(loop)
    tensors = {f"weights|{key}": value.clone() for key, value in model.state_dict().items()}
    tensors |= {f"rule|{key}": value.clone() for key, value in loop.work.rule.state_dict().items()}
    for number, found in enumerate(gradients):
        tensors |= {f"gradient|{number}|{key}": value for key, value in found.items()}
    tensors["losses"] = torch.tensor([entry["train_loss"] for entry in loop.progress.curve], dtype=torch.float64)
    return tensors
