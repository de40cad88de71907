"""Ranks of saved embeddings under another protocol: another score, query banks, transductive post-processing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from awase.evaluation import Direction, Embedded, exact_ranks
from awase.evaluation.directions import side
from awase.evaluation.postprocess import QUERY_BANK, query_bank_normalised
from awase.evaluation.transductive import (
    transductive_dual_softmax_ranks,
    transductive_inverted_softmax,
    transductive_sinkhorn,
)
from awase.statistics import retrieval_metrics

Kind = Literal["static", "dynamic"]
POST = {
    "none": "none",
    "query_bank": QUERY_BANK["static"],
    "dynamic_query_bank": QUERY_BANK["dynamic"],
    "transductive_inverted_softmax": "transductive_inverted_softmax",
    "transductive_dual_softmax": "transductive_dual_softmax",
    "transductive_sinkhorn": "transductive_sinkhorn",
}
"""Name of a post-processing -> the name that a protocol carries."""
BANKS: dict[str, Kind] = {"query_bank": "static", "dynamic_query_bank": "dynamic"}
SHARPNESS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""What beta is tried as on validation, in units of one over the standard deviation of the scores."""

LEAST_QUERIES = 4


@dataclass(frozen=True)
class Sides:
    """Both sides of a direction: queries that are there, the places of their items, and the gallery."""

    rows: Int[Tensor, " queries"]
    queries: Float[Tensor, "queries dim"]
    gallery: Float[Tensor, "items dim"]
    there: Bool[Tensor, " items"]
    same: Int[Tensor, " items"] | None = None

    def take(self, chosen: Int[Tensor, " chosen"]) -> "Sides":
        """Some of the queries."""
        return Sides(self.rows[chosen], self.queries[chosen], self.gallery, self.there, self.same)


def sides_of(
    embedded: Embedded,
    direction: Direction,
    *,
    cosine: bool,
    same: Mapping[str, Int[Tensor, " samples"]] | None = None,
    device: torch.device | str = "cpu",
) -> Sides:
    """The two sides of a direction as `ranks_of` compares them; `same` as there."""
    queries, asked = side(embedded, (direction.query,), cosine=cosine)
    gallery, there = side(embedded, direction.gallery, cosine=cosine)
    rows = asked.nonzero()[:, 0]
    named = [name for name in (direction.query, *direction.gallery) if name in (same or {})]
    numbers = (same or {})[named[0]].to(device) if named else None
    return Sides(rows.to(device), queries[rows].to(device), gallery.to(device), there.to(device), numbers)


def post_ranks(
    sides: Sides, post: str, beta: float | None = None, bank: Float[Tensor, "bank dim"] | None = None
) -> Int[Tensor, " queries"]:
    """Returns the ranks under a post-processing of `POST`; `beta` for all but `none`, `bank` for query banks.

    Of Sinkhorn 1 / beta is the temperature.
    """
    queries, gallery, there = sides.queries, sides.gallery, sides.there
    if post == "none":
        return exact_ranks(queries, gallery, sides.rows, gallery_present=there, also_correct=sides.same)
    assert beta is not None, "every post-processing has a beta"
    if post == "transductive_dual_softmax":
        return transductive_dual_softmax_ranks(
            queries, gallery, sides.rows, beta=beta, gallery_present=there, also_correct=sides.same
        )
    if post == "transductive_inverted_softmax":
        queries, gallery = transductive_inverted_softmax(queries, gallery, beta=beta, gallery_present=there)
    elif post == "transductive_sinkhorn":
        queries, gallery = transductive_sinkhorn(queries, gallery, tau=1 / beta, gallery_present=there)
    else:
        assert bank is not None, "a query bank has queries"
        queries, gallery = query_bank_normalised(
            queries, gallery, bank, beta=beta, kind=BANKS[post], gallery_present=there
        )
    return exact_ranks(queries, gallery, sides.rows, gallery_present=there, also_correct=sides.same)


def inductive_ranks(
    sides: Sides, val: Sides, post: str, beta: float | None = None
) -> tuple[Int[Tensor, " samples"], float]:
    """Returns the ranks of every sample of `sides` with the queries of validation as the bank, and beta.

    Where beta is None it is chosen on validation. Samples that cannot ask have rank -1.
    """
    beta = choose_beta(val, post) if beta is None else beta
    return of_all(post_ranks(sides, post, beta, val.queries), len(sides.gallery)), beta


def of_all(ranks: Int[Tensor, " queries"], samples: int) -> Int[Tensor, " samples"]:
    """The ranks with a failure for each sample that cannot ask, behind the others."""
    return torch.cat([ranks, ranks.new_full((samples - len(ranks),), -1)])


def choose_beta(val: Sides, post: str) -> float:
    """The beta with the lowest mean log rank on validation, the smaller one of equals.

    Of query banks every second validation query is the bank and the others ask, so that none normalises itself.
    Raises `ValueError` where validation has too few queries (`has_bank`).
    """
    if not has_bank(val):
        raise ValueError(f"Beta is chosen on validation, which has {len(val.rows)} queries here; give it with --beta.")
    asking, bank = val, None
    if post in BANKS:
        every = torch.arange(len(val.rows), device=val.rows.device)
        asking, bank = val.take(every[0::2]), val.queries[1::2]
    scale = float(score_deviation(val))
    tried = []
    for sharpness in SHARPNESS:
        beta = sharpness / scale
        ranks = post_ranks(asking, post, beta, bank).cpu().numpy()
        tried.append((retrieval_metrics(ranks, len(val.gallery), ()).mean_log_rank, beta))
    return min(tried)[1]


def has_bank(val: Sides) -> bool:
    """Whether validation has enough queries, and an item, to choose beta on: 4 queries."""
    return len(val.rows) >= LEAST_QUERIES and bool(val.there.any())


def score_deviation(sides: Sides) -> Float[Tensor, ""]:
    """The standard deviation of all scores, from means alone: no matrix of all pairs; 1 where all are the same."""
    queries, items = sides.queries.double(), sides.gallery[sides.there].double()
    mean = queries.mean(0) @ items.mean(0)
    square = ((queries.T @ queries) * (items.T @ items)).sum() / (len(queries) * len(items))
    deviation = (square - mean**2).clamp(min=0).sqrt()
    return deviation if float(deviation) > 1e-9 else torch.ones_like(deviation)
