"""Post-processing that looks at all test queries at once. Every name begins with `transductive`, here and in protocols.

A score then depends on which other queries are asked: with one query per item these ways use that knowledge and gain
much, with another stream of queries they may lose. Their numbers stand apart from raw scores and those of
`awase.evaluation.postprocess`. All are for raw dot products; normalise the embeddings before for cosines.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from awase.evaluation.dot_scores import DotScores, dot_scores, full_precision, parts, presence
from awase.evaluation.postprocess import query_bank_normalised
from awase.evaluation.ranks import ranks_from_scores

TRANSDUCTIVE = (
    "transductive_inverted_softmax",
    "transductive_dual_softmax",
    "transductive_sinkhorn",
)


def transductive_inverted_softmax(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "items dim"],
    *,
    beta: float,
    query_present: Bool[Tensor, " queries"] | None = None,
    gallery_present: Bool[Tensor, " items"] | None = None,
    tile_bytes: int | None = None,
) -> tuple[Float[Tensor, "queries longer"], Float[Tensor, "items longer"]]:
    """Returns longer queries and gallery as `query_bank_normalised` does, the test queries themselves as the bank."""
    return query_bank_normalised(
        queries,
        gallery,
        queries[presence(query_present, queries)],
        beta=beta,
        kind="static",
        query_present=query_present,
        gallery_present=gallery_present,
        tile_bytes=tile_bytes,
    )


def transductive_sinkhorn(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "items dim"],
    *,
    tau: float,
    iterations: int = 50,
    query_present: Bool[Tensor, " queries"] | None = None,
    gallery_present: Bool[Tensor, " items"] | None = None,
    tile_bytes: int | None = None,
) -> tuple[Float[Tensor, "queries longer"], Float[Tensor, "items longer"]]:
    """Returns queries (q, 1) and gallery (g, -v): within a query the scores s - u_i - v_j are ordered as s - v_j.

        u_i = tau log (n sum_j exp((s_ij - v_j) / tau)),   v_j = tau log (m sum_i exp((s_ij - u_i) / tau))

    of n queries and m items, so that exp((s - u - v) / tau) has equal sums of rows, and of columns. In the log domain,
    in float64 tiles: every half of an iteration costs one product of all pairs. Raises `ValueError` for a tau that is
    not above 0, no iteration, and NaN or infinity.
    """
    if not tau > 0 or iterations < 1:
        raise ValueError(f"Sinkhorn needs a tau above 0 and an iteration; given: tau {tau}, {iterations} iterations.")
    here = presence(query_present, queries).nonzero()[:, 0]
    there = presence(gallery_present, gallery).nonzero()[:, 0]
    with full_precision(queries.device):
        scores = dot_scores(
            queries, gallery, query_present=query_present, gallery_present=gallery_present, tile_bytes=tile_bytes
        )
        flipped = DotScores(gallery, queries, scores.item_norms, scores.query_norms, None, scores.tile_bytes)
        of_query = torch.zeros(len(queries), dtype=torch.float64, device=queries.device)
        of_item = torch.zeros(len(gallery), dtype=torch.float64, device=queries.device)
        for _ in range(iterations):
            of_query[here] = _soft_maximum(scores, here, there, of_item, tau, len(here))
            of_item[there] = _soft_maximum(flipped, there, here, of_query, tau, len(there))
    one = torch.ones(len(queries), 1, dtype=scores.dtype, device=queries.device)
    longer = torch.cat([queries.to(scores.dtype), one], dim=1)
    return longer, torch.cat([gallery.to(scores.dtype), -of_item[:, None].to(scores.dtype)], dim=1)


def transductive_dual_softmax_ranks(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "items dim"],
    match: Int[Tensor, " queries"],
    *,
    beta: float,
    query_present: Bool[Tensor, " queries"] | None = None,
    gallery_present: Bool[Tensor, " items"] | None = None,
    also_correct: Int[Tensor, " items"] | None = None,
    tile_bytes: int | None = None,
) -> Int[Tensor, " queries"]:
    """Returns ranks, as `exact_ranks` does, of s'_ij = s_ij exp(beta s_ij) / sum_i exp(beta s_ij).

    These are no dot products: rows of scores are made in float64, some queries at a time, and scores within 1e-9 of the
    largest of a row count as ties. Source: Cheng et al. 2021 (CAMoE). Raises `ValueError` as `bank_hubness` does.
    """
    here, there = presence(query_present, queries), presence(gallery_present, gallery)
    longer = transductive_inverted_softmax(
        queries, gallery, beta=beta, query_present=here, gallery_present=there, tile_bytes=tile_bytes
    )[1]
    log_sum = -beta * longer[:, -1].double()
    ranks = torch.full((len(queries),), -1, dtype=torch.int64, device=queries.device)
    with full_precision(queries.device):
        scores = dot_scores(
            queries, gallery, query_present=query_present, gallery_present=gallery_present, tile_bytes=tile_bytes
        )
        columns = torch.arange(len(gallery), device=queries.device)
        step = max(1, scores.tile_bytes // (32 * max(1, len(gallery))))
        for rows in parts(here.nonzero()[:, 0], step):
            plain = scores.tile(rows, columns, torch.float64).masked_fill(~there, 0)
            dual = plain * (beta * plain - log_sum).exp()
            ranks[rows] = ranks_from_scores(
                dual,
                match[rows],
                gallery_present=there,
                also_correct=also_correct,
                tolerance=1e-9 * dual.abs().amax(1),
            )
    return ranks


def _soft_maximum(
    scores: DotScores,
    rows: Int[Tensor, " rows"],
    columns: Int[Tensor, " columns"],
    taken: Float[Tensor, " all"],
    tau: float,
    count: int,
) -> Float[Tensor, " rows"]:
    """tau log(count sum over columns of exp((s - taken) / tau)), of every row."""
    result = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
    for inside in parts(torch.arange(len(rows), device=rows.device), scores.side):
        total = torch.full((len(inside),), -torch.inf, dtype=torch.float64, device=rows.device)
        for block in parts(columns, scores.side):
            tile = scores.tile(rows[inside], block, torch.float64) - taken[block]
            total = torch.logaddexp(total, (tile / tau).logsumexp(1))
        result[inside] = tau * (total + torch.tensor(float(count)).log())
    return result
