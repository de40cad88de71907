"""Two methods on the same samples: predictions of several seeds and folds become paired scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from awase.statistics.bootstrap import Difference, Ratio, paired_difference
from awase.statistics.predictions import Predictions, align
from awase.statistics.scores import item_scores


@dataclass(frozen=True)
class SeedScores:
    """Scores of a method, a row per seed in the order of `seeds`, a column per sample in the order of `ids`."""

    scores: Ratio
    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...] | None
    left_out: int


def score_seeds(runs: Mapping[int, Predictions], metric: str) -> SeedScores | None:
    """Returns the scores of all seeds on the samples every seed has; None where `metric` is not a sum over samples.

    `runs` maps a seed to its test predictions, the folds joined by `concatenate`. `left_out` counts samples that only
    some seeds have.
    """
    seeds = tuple(sorted(runs))
    aligned, left_out = align([runs[seed] for seed in seeds])
    scores = _stack(aligned, metric)
    if scores is None:
        return None
    return SeedScores(scores, seeds, aligned[0].ids, aligned[0].groups, left_out)


def compare(a: Mapping[int, Predictions], b: Mapping[int, Predictions], metric: str) -> tuple[Difference, int]:
    """Returns `a - b` on the seeds and samples both have, and how many samples were left out.

    Raises `ValueError` where no seed or sample is shared and for a metric that is not a sum over samples.
    """
    seeds = sorted(set(a) & set(b))
    if not seeds:
        raise ValueError(f"The runs share no seed: {sorted(a)} against {sorted(b)}. A paired comparison needs one.")
    aligned, left_out = align([runs[seed] for runs in (a, b) for seed in seeds])
    first, second = _stack(aligned[: len(seeds)], metric), _stack(aligned[len(seeds) :], metric)
    if first is None or second is None:
        raise ValueError(f"{metric!r} cannot be compared by sample; use 'accuracy' or 'f1_micro'.")
    return paired_difference(first, second, aligned[0].groups), left_out


def _stack(aligned: Sequence[Predictions], metric: str) -> Ratio | None:
    parts = [item_scores(part, metric) for part in aligned]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Ratio(
        np.concatenate([part.numerators for part in known]), np.concatenate([part.denominators for part in known])
    )
