"""What each of two processes does in the test of joint spaces: `space_processes.py RANK FOLDER`."""

from typing import Any

from process_pair import as_one_of_two, whole_training
from space_samples import NUM_CLUSTERS, Shares, loop_of, model_of, rows_of, stage_of
from torch import Tensor

from awase.distributed import World
from awase.runner.space_replay import Replayed

KEPT = {
    "pairs": {"a+v": 1.0},
    "policies": [{"name": name} for name in ("feature_distillation", "similarity_distillation", "ckc", "replay")],
}
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
    "soft": ({"loss": "info_nce", "learn_temperature": True, "targets": {"pairs": ["a+t", "t+v"]}}, 0.3, (4, 0)),
    "partial": ({"loss": "info_nce", "temperature": 0.2, "targets": {"kind": "partial"}}, 0.2, (2, 4)),
    "transport": ({"loss": "transport", "learn_temperature": True}, 0.3, (4, 2)),
    "kept": ({"loss": "info_nce", "pairs": {"t+v": 1.0, "a+t": 1.0}, "kept": KEPT}, 0.3, (3, 0, 5)),
    "some keys": (
        {
            "loss": "info_nce",
            "learn_temperature": True,
            "clustering": None,
            "combinations": {"keys": ["a+v", "a+t", "t+v", "a+t+v"], "keys_per_step": 2, "tether": 0.5},
        },
        0.2,
        (4, 0, 2),
    ),
    "sinkhorn": ({"loss": "max_margin", "clustering": {**CLUSTERING, "assignment": "sinkhorn"}}, 0.2, (2, 4)),
}


def beside(batches: Shares, world: World) -> Replayed:
    """The batches, each followed by three of seven samples of a reservoir, of which the first process has one."""
    return Replayed(batches, Shares(rows_of(7, seed=8), 3, world, (1,)))


def train(name: str, world: World) -> dict[str, Tensor]:
    """Weights, queue and centroids, gradients before each step, and losses of one case, in the world given."""
    changes, absent, shares = CASES[name]
    stage = stage_of(**changes)
    model = model_of(stage)
    batches = Shares(rows_of(20, absent, seed=7), 6, world, shares)
    loop = loop_of(model, stage, beside(batches, world) if "kept" in changes else batches, world)
    return whole_training(model, loop)


if __name__ == "__main__":
    as_one_of_two(CASES, train)
