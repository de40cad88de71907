"""What each of two processes does in the test of joint spaces: `space_processes.py RANK FOLDER`."""

from typing import Any

from process_pair import as_one_of_two, whole_training
from space_samples import NUM_CLUSTERS, Shares, loop_of, model_of, rows_of, stage_of
from torch import Tensor

from awase.distributed import World

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


def train(name: str, world: World) -> dict[str, Tensor]:
    """Weights, queue and centroids, gradients before each step, and losses of one case, in the world given."""
    changes, absent, shares = CASES[name]
    stage = stage_of(**changes)
    model = model_of(stage)
    loop = loop_of(model, stage, Shares(rows_of(20, absent, seed=7), 6, world, shares), world)
    return whole_training(model, loop)


if __name__ == "__main__":
    as_one_of_two(CASES, train)
