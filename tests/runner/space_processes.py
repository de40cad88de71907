"""What each of two processes does in the test of joint spaces: `space_processes.py RANK FOLDER`."""

import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from space_samples import NUM_CLUSTERS, Shares, loop_of, model_of, rows_of, stage_of
from torch import distributed as dist

from awase.distributed import World, current_world

CLUSTERING = {"num_clusters": NUM_CLUSTERS, "queue_rows": 8, "refit_every": 2}
# (changes, share absent, rows of the first process of each batch): the last batch of 20 has two samples, so that with
# 4 the second process has none, and with 0 the first.
CASES: dict[str, tuple[dict[str, Any], float, tuple[int, ...]]] = {
    "complete": ({}, 0.0, (4, 2, 5)),
    "absent": ({}, 0.4, (3, 0, 6)),
    "learned": ({"loss": "info_nce", "learn_temperature": True}, 0.3, (4,)),
    "sigmoid": (
        {"loss": "sigmoid", "learn_temperature": True, "clustering": {**CLUSTERING, "of": "fused"}},
        0.2,
        (0, 5),
    ),
    "sinkhorn": ({"loss": "max_margin", "clustering": {**CLUSTERING, "assignment": "sinkhorn"}}, 0.2, (2, 4)),
}


def train(name: str, world: World) -> dict[str, torch.Tensor]:
    """Weights, queue and centroids, gradients before each step, and losses of one case, in the world given."""
    changes, absent, shares = CASES[name]
    stage = stage_of(**changes)
    model = model_of(stage)
    loop = loop_of(model, stage, Shares(rows_of(20, absent, seed=7), 6, world, shares), world)
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
