"""The worst queries of a joint space and what it finds instead, for the report, which computes no scores."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from awase.evaluation import Direction, Embedded, top_k
from awase.evaluation.directions import ranks_between, sides_of
from awase.statistics import Found, WorstQueries, WorstQuery

QUERIES, ITEMS = 20, 3


def worst_queries(
    embedded: Embedded,
    direction: Direction,
    *,
    cosine: bool,
    stage: str,
    split: str,
    texts: Mapping[str, Sequence[str | None]],
    device: torch.device | str = "cpu",
) -> WorstQueries | None:
    """The `QUERIES` worst queries of a direction with the `ITEMS` best items of each; None where nothing can be found.

    Ties in the rank stay in the order of the samples. `texts[modality]` has a text per sample, in the samples' order.
    """
    sides = sides_of(embedded, direction, cosine=cosine, device=device)
    ranks = ranks_between(sides).cpu()
    found = (ranks >= 0).nonzero()[:, 0]
    if len(found) == 0:
        return None
    order = found[ranks[found].argsort(descending=True, stable=True)][:QUERIES]
    queries, gallery, there = sides.queries[order.to(device)], sides.gallery, sides.there
    places, scores = top_k(queries, gallery, min(ITEMS, int(there.sum())), gallery_present=there)
    own = (queries * gallery[sides.match[order.to(device)]]).sum(1)
    asking, items = sides.asking[order.to(device)].tolist(), sides.items.cpu()
    asked, shown = _text_of(texts, (direction.query,)), _text_of(texts, direction.gallery)
    return WorstQueries(
        stage=stage,
        split=split,
        direction=str(direction),
        gallery=int(there.sum()),
        lost=len(ranks) - len(found),
        queries=tuple(
            WorstQuery(
                id=embedded.ids[asking[k]],
                rank=int(ranks[row]),
                own_score=float(own[k]),
                found=_items(items[places[k].cpu()], scores[k].tolist(), embedded.ids, shown),
                text=None if asked is None else asked[asking[k]],
            )
            for k, row in enumerate(order.tolist())
        ),
    )


def _items(
    places: Int[Tensor, " items"], scores: Sequence[float], ids: Sequence[str], texts: Sequence[str | None] | None
) -> tuple[Found, ...]:
    return tuple(
        Found(ids[place], score, None if texts is None else texts[place])
        for place, score in zip(places.tolist(), scores, strict=True)
    )


def _text_of(texts: Mapping[str, Sequence[str | None]], wanted: Sequence[str]) -> Sequence[str | None] | None:
    """The texts of the first of the wanted modalities that has any, else of any modality: a clip by its sentence."""
    return next((texts[name] for name in (*wanted, *texts) if name in texts), None)
