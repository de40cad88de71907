"""Retrieval metrics from ranks. A rank counts from 0; -1 stands for a query that is missing or whose item is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

MISSING = -1


@dataclass(frozen=True)
class RetrievalMetrics:
    """`recall[k]` as a share in [0, 1] of all queries; positions count from 1, as they are printed.

    `median_rank` is over the queries that were found, `median_rank_all` over all, a missing one at infinity.
    `mean_rank` and `mean_log_rank` (natural logarithm) are over those found; NaN where none was.
    """

    recall: dict[int, float]
    median_rank: float
    median_rank_all: float
    mean_rank: float
    mean_log_rank: float
    queries: int
    found: int
    gallery: int


def retrieval_metrics(
    ranks: Int[np.ndarray, " queries"], gallery: int, ks: Sequence[int] = (1, 5, 10)
) -> RetrievalMetrics:
    """Returns R@k, MedR and the means of all queries of one direction; `gallery` is the number of candidates.

        R@k = #{0 <= rank < k} / N    with N all queries, the missing ones among them
        MedR = median(rank) + 1       the mean of the middle two of an even number

    Raises `ValueError` without a query, for a rank outside the gallery, and for a k that is not below the size of the
    gallery. Example: ranks `[0, 4, -1, 1]`, gallery 7, ks `(1, 5)`: R@1 = 1/4, R@5 = 3/4, MedR 2 over the three found,
    (2 + 5) / 2 over all four, mean rank (1 + 5 + 2) / 3.
    """
    recall = {k: float(hits(ranks, k, gallery).mean()) for k in ks}
    position = ranks.astype(np.float64) + 1
    seen = position[ranks != MISSING]
    everyone = np.where(ranks == MISSING, np.inf, position)
    return RetrievalMetrics(
        recall,
        float(np.median(seen)) if len(seen) else np.nan,
        _median(everyone),
        float(seen.mean()) if len(seen) else np.nan,
        float(np.log(seen).mean()) if len(seen) else np.nan,
        len(ranks),
        len(seen),
        gallery,
    )


def hits(ranks: Int[np.ndarray, " queries"], k: int, gallery: int) -> Bool[np.ndarray, " queries"]:
    """Returns which queries have their item among the first `k`; their mean is R@k. Raises as `retrieval_metrics`.

    Example: `hits(np.array([0, 4, -1, 1]), 2, 7)` is `[True, False, False, True]`.
    """
    if len(ranks) == 0:
        raise ValueError("There is no query, so there is no recall.")
    if not (ranks.min() >= MISSING and ranks.max() < gallery):
        raise ValueError(
            f"Ranks lie between 0 and {gallery - 1} for a gallery of {gallery}, or are {MISSING} where something is "
            f"missing; given: {ranks.min()} to {ranks.max()}."
        )
    if not 0 < k < gallery:
        raise ValueError(
            f"R@{k} of a gallery of {gallery} says nothing: with k at the size of the gallery every model finds "
            f"everything. Choose k between 1 and {gallery - 1}."
        )
    return np.asarray((ranks != MISSING) & (ranks < k))


def _median(values: Float[np.ndarray, " queries"]) -> float:
    """Infinite where one of the middle two is."""
    ordered = np.sort(values)
    return float((ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2)
