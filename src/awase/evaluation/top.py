"""The best items of every query, exactly, in tiles."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from awase.evaluation.dot_scores import dot_scores, full_precision, parts, presence


def top_k(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "items dim"],
    k: int,
    *,
    query_present: Bool[Tensor, " queries"] | None = None,
    gallery_present: Bool[Tensor, " items"] | None = None,
    normalise: bool = False,
    tile_bytes: int | None = None,
) -> tuple[Int[Tensor, "queries k"], Float[Tensor, "queries k"]]:
    """Returns the places in the gallery of each query's `k` highest scores, best first, and the scores.

    The scores are raw dot products, or cosines with `normalise`. Which of several items with the same score come first
    is not defined. Rows of absent queries are -1 with a score of 0. Raises `ValueError` for NaN and infinity, and
    where fewer than `k` items are present. Example: query `[[1.]]`, gallery `[[1.], [3.], [2.]]`, k = 2: `[[1, 2]]`.
    """
    there = presence(gallery_present, gallery)
    columns, rows = there.nonzero()[:, 0], presence(query_present, queries).nonzero()[:, 0]
    if not 0 < k <= len(columns):
        raise ValueError(f"The best {k} were asked for, of a gallery of {len(columns)}; choose k from 1 to its size.")
    with full_precision(queries.device):
        scores = dot_scores(
            queries,
            gallery,
            query_present=query_present,
            gallery_present=gallery_present,
            normalise=normalise,
            tile_bytes=tile_bytes,
        )
        places = torch.full((len(queries), k), -1, dtype=torch.int64, device=queries.device)
        best = torch.zeros(len(queries), k, dtype=scores.dtype, device=queries.device)
        for part in parts(rows, scores.side):
            seen = torch.empty(len(part), 0, dtype=torch.int64, device=queries.device)
            high = torch.empty(len(part), 0, dtype=scores.dtype, device=queries.device)
            for block in parts(columns, scores.side):
                tile = scores.tile(part, block, scores.dtype)
                values, order = tile.topk(min(k, len(block)), dim=1)
                high, seen = torch.cat([high, values], dim=1), torch.cat([seen, block[order]], dim=1)
                high, order = high.topk(min(k, high.shape[1]), dim=1)
                seen = seen.gather(1, order)
            places[part], best[part] = seen, high
        if normalise:
            best = best / scores.query_norms.where(scores.query_norms > 0, 1.0).to(best.dtype)[:, None]
    return places, best
