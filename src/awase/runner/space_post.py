"""Ranks of saved embeddings under another protocol: another score, query banks, transductive post-processing."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from awase.evaluation import exact_ranks
from awase.evaluation.directions import Sides, ranks_between
from awase.evaluation.postprocess import QUERY_BANK, query_bank_normalised
from awase.evaluation.routes import score_moments
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


def post_ranks(
    sides: Sides, post: str, beta: float | None = None, bank: Float[Tensor, "bank dim"] | None = None
) -> Int[Tensor, " queries"]:
    """Returns each query's rank under a post-processing of `POST`, -1 as in `ranks_of`.

    `beta` is for all but `none`, of Sinkhorn one over the temperature; `bank` for query banks.
    """
    if post == "none":
        return ranks_between(sides)
    assert beta is not None, "every post-processing has a beta"
    asked = sides.asked.nonzero()[:, 0]
    ranks = torch.full_like(sides.match, -1)
    ranks[asked] = _of_present(sides.take(asked), post, beta, bank)
    return ranks


def _of_present(sides: Sides, post: str, beta: float, bank: Tensor | None) -> Int[Tensor, " queries"]:
    queries, gallery, there, match = sides.queries, sides.gallery, sides.there, sides.match
    if post == "transductive_dual_softmax":
        return transductive_dual_softmax_ranks(
            queries, gallery, match, beta=beta, gallery_present=there, also_correct=sides.right
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
    return exact_ranks(queries, gallery, match, gallery_present=there, also_correct=sides.right)


def inductive_ranks(
    sides: Sides, val: Sides, post: str, beta: float | None = None
) -> tuple[Int[Tensor, " queries"], float]:
    """Returns the ranks with the queries of validation as the bank, and beta.

    Where beta is None it is chosen on validation.
    """
    beta = choose_beta(val, post) if beta is None else beta
    return post_ranks(sides, post, beta, val.queries[val.asked]), beta


def choose_beta(val: Sides, post: str) -> float:
    """The beta with the lowest mean log rank on validation, the smaller one of equals.

    Of query banks every second validation query is the bank and the others ask, so that none normalises itself.
    Raises `ValueError` where validation has too few queries (`has_bank`).
    """
    if not has_bank(val):
        raise ValueError(
            f"Beta is chosen on validation, which has {int(val.asked.sum())} queries here; give it with --beta."
        )
    val = val.take(val.asked.nonzero()[:, 0])
    asking, bank = val, None
    if post in BANKS:
        every = torch.arange(len(val.queries), device=val.queries.device)
        asking, bank = val.take(every[0::2]), val.queries[1::2]
    scale = score_moments(val.queries[val.asked], val.gallery[val.there])[1]
    tried = []
    for sharpness in SHARPNESS:
        beta = sharpness / scale
        ranks = post_ranks(asking, post, beta, bank).cpu().numpy()
        tried.append((retrieval_metrics(ranks, len(val.gallery), ()).mean_log_rank, beta))
    return min(tried)[1]


def has_bank(val: Sides) -> bool:
    """Whether validation has enough queries, and an item, to choose beta on: 4 queries."""
    return int(val.asked.sum()) >= LEAST_QUERIES and bool(val.there.any())
