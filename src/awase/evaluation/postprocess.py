"""Query-bank normalisation: gallery items that are close to every query are set back. Inductive: no test query is used.

    h_j = 1/beta log sum_b exp(beta s(b, j))     how close item j is to a bank of training or validation queries
    s'(q, j) = s(q, j) - h_j

for "static"; in "dynamic" only for queries whose best item is the best of some query of the bank, a known hub. Since
h_j does not depend on the query, s' is the dot product of (q, 1) and (g_j, -h_j): the result is embeddings with one
number more, for `exact_ranks`, `top_k` and any index. Source: Bogolin et al., Cross Modal Retrieval with Querybank
Normalisation, CVPR 2022 (inverted softmax, after Smith et al. 2017).
"""

from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from awase.evaluation.dot_scores import dot_scores, full_precision, parts, presence
from awase.evaluation.top import top_k

QUERY_BANK = {"static": "querybank", "dynamic": "querybank_dynamic"}
"""Kind -> the name that a protocol carries."""


def bank_hubness(
    bank: Float[Tensor, "bank dim"],
    gallery: Float[Tensor, "items dim"],
    beta: float,
    *,
    gallery_present: Bool[Tensor, " items"] | None = None,
    tile_bytes: int | None = None,
) -> Float[Tensor, " items"]:
    """Returns h of every item, in the dtype of the scores, 0 for absent ones.

    Computed in float64 tiles and rounded at the end, so that equal items of a collapsed model have equal h.
    `beta` belongs to the scale of the scores. Raises `ValueError` for an empty bank, a beta that is not above 0, and
    NaN or infinity. Example: bank `[[1.], [1.]]`, gallery `[[0.]]`, beta 2: log(2) / 2.
    """
    if len(bank) == 0 or not beta > 0:
        raise ValueError(
            f"A query bank needs a query and a beta above 0; given: {len(bank)} queries and beta {beta}. Take the "
            f"queries of the training or validation split."
        )
    with full_precision(bank.device):
        scores = dot_scores(bank, gallery, gallery_present=gallery_present, tile_bytes=tile_bytes)
        rows = torch.arange(len(bank), device=bank.device)
        hubness = torch.zeros(len(gallery), dtype=torch.float64, device=bank.device)
        for block in parts(presence(gallery_present, gallery).nonzero()[:, 0], scores.side):
            total = torch.full((len(block),), -torch.inf, dtype=torch.float64, device=bank.device)
            for part in parts(rows, scores.side):
                tile = beta * scores.tile(part, block, torch.float64)
                total = torch.logaddexp(total, tile.logsumexp(0))
            hubness[block] = total / beta
    return hubness.to(scores.dtype)


def query_bank_normalised(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "items dim"],
    bank: Float[Tensor, "bank dim"],
    *,
    beta: float,
    kind: Literal["static", "dynamic"] = "dynamic",
    normalise: bool = False,
    query_present: Bool[Tensor, " queries"] | None = None,
    gallery_present: Bool[Tensor, " items"] | None = None,
    tile_bytes: int | None = None,
) -> tuple[Float[Tensor, "queries longer"], Float[Tensor, "items longer"]]:
    """Returns queries and gallery, one number longer, whose dot products are the normalised scores.

    `bank` are queries of another split; beta is chosen on validation. With `normalise` all three are made unit vectors
    first, so do not ask `exact_ranks` for it again. Which item is a known hub ("dynamic") is decided on the scores as
    they were. Rows of absent queries and items stay whatever they were. Raises `ValueError` as `bank_hubness`.
    """
    if kind not in QUERY_BANK:
        raise ValueError(f"A query bank is used in a 'static' or 'dynamic' way; given: {kind!r}.")
    if normalise:
        queries, gallery, bank = (F.normalize(part.float(), dim=1) for part in (queries, gallery, bank))
    hubness = bank_hubness(bank, gallery, beta, gallery_present=gallery_present, tile_bytes=tile_bytes)
    set_back = torch.ones(len(queries), dtype=hubness.dtype, device=queries.device)
    if kind == "dynamic":
        best = partial(top_k, gallery=gallery, k=1, gallery_present=gallery_present, tile_bytes=tile_bytes)
        known = torch.isin(best(queries, query_present=query_present)[0], best(bank)[0])
        set_back = known[:, 0].to(hubness.dtype)
    return _longer(queries, set_back), _longer(gallery, -hubness)


def _longer(values: Float[Tensor, "rows dim"], last: Float[Tensor, " rows"]) -> Float[Tensor, "rows longer"]:
    return torch.cat([values.to(last.dtype), last[:, None]], dim=1)
