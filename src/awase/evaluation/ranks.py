"""Exact ranks by counting in tiles: how many items score at least as high as the right one. No score is sorted.

What "at least as high" means must not depend on rounding: a tile's matrix product gives equal items scores that differ
in the last digit, by where they stand in it, so that a collapsed model would get ranks by luck. So float32 decides only
where it can. A score that lies further from the right item's than rounding reaches (`DotScores.rounding`) is counted as
it is; the others are computed again in float64, and those that float64 cannot tell from the right item's count as ties.
The ranks are those of the given numbers, whatever the tiles, the device and the library of matrix products.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from awase.evaluation.dot_scores import DotScores, dot_scores, full_precision, parts, presence

CROWDED = 16
"""Where more than one in so many scores of a row is undecided, a product in float64 is cheaper than single pairs."""


def exact_ranks(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "items dim"],
    match: Int[Tensor, " queries"],
    *,
    query_present: Bool[Tensor, " queries"] | None = None,
    gallery_present: Bool[Tensor, " items"] | None = None,
    also_correct: Int[Tensor, " items"] | None = None,
    normalise: bool = False,
    tile_bytes: int | None = None,
) -> Int[Tensor, " queries"]:
    """Returns each query's rank from 0: the number of wrong items that score at least as high as the right one.

    `match[i]` is the item that query i looks for. A tie counts against the query, so that a model that gives the same
    for everything has rank M - 1. A query that is absent, or whose own item is, has rank -1; absent items are no
    candidates. With `also_correct`, a group number per item, every item of the match's group is right, and the best of
    them counts; the match itself must be present all the same. Scores are raw dot products, with `normalise` cosines.

    `tile_bytes` is about what is needed beside the embeddings (default: 64 MiB on a CPU, 512 MiB on a GPU). Raises
    `ValueError` for NaN and infinity in present rows, naming how many, and for a match outside the gallery.
    Example: queries `[[1.]]`, gallery `[[1.], [2.], [1.]]`, match `[0]`: rank 2.
    """
    _check_match(match, len(gallery))
    here, there = presence(query_present, queries), presence(gallery_present, gallery)
    ranks = torch.full((len(queries),), -1, dtype=torch.int64, device=queries.device)
    with full_precision(queries.device):
        scores = dot_scores(
            queries,
            gallery,
            query_present=query_present,
            gallery_present=gallery_present,
            normalise=normalise,
            tile_bytes=tile_bytes,
        )
        rows, columns = (here & there[match]).nonzero()[:, 0], there.nonzero()[:, 0]
        if len(rows):
            best, right = _right_items(scores, rows, match[rows], there, also_correct)
            ranks[rows] = _at_least(scores, rows, columns, best) - right
    return ranks


def ranks_from_scores(
    scores: Float[Tensor, "queries items"],
    match: Int[Tensor, " queries"],
    *,
    query_present: Bool[Tensor, " queries"] | None = None,
    gallery_present: Bool[Tensor, " items"] | None = None,
    also_correct: Int[Tensor, " items"] | None = None,
    tolerance: Float[Tensor, " queries"] | None = None,
) -> Int[Tensor, " queries"]:
    """Returns the ranks of `exact_ranks` for scores that are given, which are compared as they are.

    Scores within `tolerance` of the right one are ties. Raises `ValueError` for NaN and infinity among present queries
    and items, and for a match outside the gallery. Example: scores `[[1., 2., 1.]]`, match `[0]`: rank 2.
    """
    _check_match(match, scores.shape[1])
    here, there = presence(query_present, scores), presence(gallery_present, scores.T)
    everything = bool(there.all())
    ranks = torch.full((len(scores),), -1, dtype=torch.int64, device=scores.device)
    present = here.nonzero()[:, 0]
    slack = torch.zeros_like(scores[:, 0]) if tolerance is None else tolerance.to(scores.dtype)
    for rows in parts(present, max(1, 2**20 // max(1, scores.shape[1]))):
        part = scores[rows[0] : rows[-1] + 1] if int(rows[-1] - rows[0]) + 1 == len(rows) else scores[rows]
        _check_finite(part if everything else part[:, there])
        own = part.gather(1, match[rows, None])
        if also_correct is None:
            wrong = None if everything else ~there
        else:
            group = also_correct[match[rows], None] == also_correct
            own = part.masked_fill(~(group & there), -torch.inf).amax(1, keepdim=True)
            wrong = group | ~there
        counted = part >= own - slack[rows, None]
        if wrong is not None:
            counted &= ~wrong
        found = counted.sum(1, dtype=torch.int32).long() - int(also_correct is None)
        ranks[rows] = found.where(there[match[rows]], -1)
    return ranks


def _right_items(
    scores: DotScores,
    rows: Int[Tensor, " rows"],
    match: Int[Tensor, " rows"],
    there: Bool[Tensor, " items"],
    also_correct: Int[Tensor, " items"] | None,
) -> tuple[Float[Tensor, " rows"], Int[Tensor, " rows"]]:
    """The best score of the right items in float64, and how many right items have it."""
    if also_correct is None:
        return scores.pairs(rows, match), torch.ones_like(rows)
    items = there.nonzero()[:, 0]
    group = also_correct.unique(return_inverse=True)[1]
    sizes = group[items].bincount(minlength=len(group))
    starts, members = sizes.cumsum(0) - sizes, items[group[items].argsort(stable=True)]
    best, right = torch.empty_like(rows, dtype=torch.float64), torch.empty_like(rows)
    for part in parts(
        torch.arange(len(rows), device=rows.device), max(1, scores.tile_bytes // (64 * int(sizes.max())))
    ):
        own = group[match[part]]
        query = torch.arange(len(part), device=rows.device).repeat_interleave(sizes[own])
        place = torch.arange(len(query), device=rows.device) - (sizes[own].cumsum(0) - sizes[own])[query]
        values = scores.pairs(rows[part][query], members[starts[own][query] + place])
        best[part] = torch.full_like(best[part], -torch.inf).scatter_reduce(0, query, values, "amax")
        least = best[part] - 2 * scores.rounding(rows[part], items, torch.float64)
        right[part] = torch.zeros_like(part).index_add(0, query, (values >= least[query]).long())
    return best, right


def _at_least(
    scores: DotScores, rows: Int[Tensor, " rows"], columns: Int[Tensor, " columns"], best: Float[Tensor, " rows"]
) -> Int[Tensor, " rows"]:
    """How many of the columns score at least `best`, or so close below it that float64 cannot tell."""
    counts = torch.zeros_like(rows)
    least = best - 2 * scores.rounding(rows, columns, torch.float64)
    for block in parts(columns, scores.side):
        for inside in parts(torch.arange(len(rows), device=rows.device), scores.side):
            counts[inside] += _tile_count(scores, rows[inside], block, least[inside], best[inside])
    return counts


def _tile_count(
    scores: DotScores,
    rows: Int[Tensor, " rows"],
    columns: Int[Tensor, " columns"],
    least: Float[Tensor, " rows"],
    best: Float[Tensor, " rows"],
) -> Int[Tensor, " rows"]:
    tile, reach = scores.tile(rows, columns, scores.dtype), scores.rounding(rows, columns, scores.dtype)
    reach = reach + 4 * torch.finfo(scores.dtype).eps * best.abs()  # the bounds themselves are rounded
    low, high = ((least - reach).to(scores.dtype), (best + reach).to(scores.dtype))
    counts = (tile > high[:, None]).sum(1, dtype=torch.int32).long()
    possible = (tile >= low[:, None]).sum(1, dtype=torch.int32).long()
    open_rows = (possible > counts).nonzero()[:, 0]
    if len(open_rows):
        part = tile[open_rows]
        undecided = (part >= low[open_rows, None]) & (part <= high[open_rows, None])
        counts[open_rows] += _settled(scores, rows[open_rows], columns, least[open_rows], undecided)
    return counts


def _settled(
    scores: DotScores,
    rows: Int[Tensor, " rows"],
    columns: Int[Tensor, " columns"],
    least: Float[Tensor, " rows"],
    undecided: Bool[Tensor, "rows columns"],
) -> Int[Tensor, " rows"]:
    """How many of the undecided scores of each row are at least `least` in float64."""
    where = undecided.nonzero()
    if len(where) * CROWDED > undecided.numel():
        exact = scores.tile(rows, columns, torch.float64)
        return ((exact >= least[:, None]) & undecided).sum(1)
    line, column = where.unbind(1)
    values = scores.pairs(rows[line], columns[column])
    return torch.zeros_like(rows).index_add(0, line, (values >= least[line]).long())


def _check_match(match: Int[Tensor, " queries"], num_items: int) -> None:
    if len(match) and not (int(match.min()) >= 0 and int(match.max()) < num_items):
        raise ValueError(
            f"A match is the place of a query's item in the gallery, between 0 and {num_items - 1}; given: "
            f"{int(match.min())} to {int(match.max())}. Say that an item is missing with `gallery_present`."
        )


def _check_finite(scores: Float[Tensor, "rows columns"]) -> None:
    """A sum is finite where its parts are, up to overflow; only then is every score looked at."""
    if not bool(scores.sum(1).isfinite().all()):
        wrong = int((~scores.isfinite()).sum())
        if wrong:
            raise ValueError(
                f"{wrong} scores are NaN or infinite: a model that gives such values has no ranks. "
                f"Mark missing queries and items as absent."
            )
