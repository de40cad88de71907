"""Which modality asks for which: the retrieval tasks between modalities, and the ranks of embeddings in them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import permutations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from awase.evaluation.embed import Embedded, first_rows
from awase.evaluation.fused import fused
from awase.evaluation.ranks import exact_ranks


@dataclass(frozen=True, order=True)
class Direction:
    """One modality's items are the queries; the gallery's items are scored with the sum of one or more modalities."""

    query: str
    gallery: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.query}->{'+'.join(self.gallery)}"

    @property
    def is_pair(self) -> bool:
        """Whether two single modalities are compared."""
        return len(self.gallery) == 1

    @property
    def modalities(self) -> frozenset[str]:
        """All that take part."""
        return frozenset((self.query, *self.gallery))


def directions(modalities: tuple[str, ...]) -> tuple[Direction, ...]:
    """Every directed pair, then, of three or more modalities, each one to all the others together.

    >>> [str(one) for one in directions(("video", "audio", "text"))][4:]
    ['text->video', 'text->audio', 'video->audio+text', 'audio->text+video', 'text->audio+video']
    """
    pairs = tuple(Direction(query, (item,)) for query, item in permutations(modalities, 2))
    if len(modalities) < 3:
        return pairs
    return (*pairs, *(Direction(one, tuple(sorted(set(modalities) - {one}))) for one in modalities))


def parsed(text: str) -> Direction:
    """The direction that `str` made the text of."""
    query, _, gallery = text.partition("->")
    return Direction(query, tuple(gallery.split("+")))


def side(
    embedded: Embedded, modalities: tuple[str, ...], *, cosine: bool
) -> tuple[Float[Tensor, "samples dim"], Bool[Tensor, " samples"]]:
    """One side of a direction: what is scored, and which samples have it.

    With raw dot products the sum of the modalities' embeddings, so that the score is q.(v + a), of the samples that
    have all of them; with `cosine` the mean of the unit vectors of those that a sample has.
    """
    return fused(
        {name: embedded.embeddings[name] for name in modalities},
        {name: embedded.present[name] for name in modalities},
        mode="normalised_mean" if cosine else "sum",
    )


@dataclass(frozen=True)
class Sides:
    """Both sides of a direction: the queries with the place of each one's item, and the gallery.

    `asking` and `items` are the rows of the embedded samples that they are; without several captions per clip, all.
    `right` has a number per item: every item with that of the query's own is right; None: its own alone.
    """

    asking: Int[Tensor, " queries"]
    queries: Float[Tensor, "queries dim"]
    asked: Bool[Tensor, " queries"]
    match: Int[Tensor, " queries"]
    items: Int[Tensor, " items"]
    gallery: Float[Tensor, "items dim"]
    there: Bool[Tensor, " items"]
    right: Int[Tensor, " items"] | None = None
    any_caption: bool = False
    """Whether the items are captions, of which each of the query's clip is right."""

    def take(self, chosen: Int[Tensor, " chosen"]) -> "Sides":
        """Some of the queries."""
        parts = {name: getattr(self, name)[chosen] for name in ("asking", "queries", "asked", "match")}
        return replace(self, **parts)


def sides_of(
    embedded: Embedded,
    direction: Direction,
    *,
    cosine: bool,
    same: Mapping[str, Int[Tensor, " samples"]] | None = None,
    device: torch.device | str = "cpu",
) -> Sides:
    """The two sides of a direction, under the adapters of its combination of modalities where there are such.

    A sample is a query and an item. Where a clip has several captions, each a sample, every caption is a query of its
    own; on a side without captions a clip is there once. From the clip to its captions each of them is right, and the
    best counts. `same[modality]` numbers samples whose content in that modality is the same (captions): such items are
    then right too; raises `ValueError` for it where a clip has several captions, whose equals are no groups.
    """
    embedded = embedded.under(direction.modalities)
    clips, everything = embedded.clips, torch.arange(len(embedded))
    once = first_rows(clips) if embedded.several else everything
    captions = frozenset(embedded.several)
    asking = everything if direction.query in captions else once
    items = everything if captions & set(direction.gallery) else once
    queries, asked = side(embedded, (direction.query,), cosine=cosine)
    gallery, there = side(embedded, direction.gallery, cosine=cosine)
    named = [name for name in (direction.query, *direction.gallery) if name in (same or {})]
    if named and captions & direction.modalities:
        raise ValueError(
            f"In {direction} a clip has several captions, so that items with the same caption are no groups; leave "
            "the same caption out, or use one caption per clip."
        )
    any_caption = len(asking) < len(items)
    right = clips[items] if any_caption else (same or {})[named[0]] if named else None
    return Sides(
        asking.to(device),
        _taken(queries, asking).to(device),
        asked[asking].to(device),
        _places(clips, asking, items, there).to(device),
        items.to(device),
        _taken(gallery, items).to(device),
        there[items].to(device),
        None if right is None else right.to(device),
        any_caption,
    )


def _taken(values: Float[Tensor, "samples dim"], rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows dim"]:
    """The rows; without a copy where they are all."""
    return values if len(rows) == len(values) else values[rows]


def _places(
    clips: Int[Tensor, " samples"],
    asking: Int[Tensor, " queries"],
    items: Int[Tensor, " items"],
    there: Bool[Tensor, " samples"],
) -> Int[Tensor, " queries"]:
    """The place of each query's item: itself, or of its clip the first item that is there, else the first."""
    if len(asking) == len(items) == len(clips):
        return asking
    order = items[there[items].logical_not().int().argsort(stable=True)]
    first = order[first_rows(clips[order])]
    place = torch.empty(int(clips.max()) + 1, dtype=torch.int64)
    place[clips[first]] = torch.searchsorted(items, first)
    return place[clips[asking]]


def ranks_of(
    embedded: Embedded,
    direction: Direction,
    *,
    cosine: bool,
    same: Mapping[str, Int[Tensor, " samples"]] | None = None,
    device: torch.device | str = "cpu",
) -> Int[Tensor, " queries"]:
    """Each query's rank from 0; -1 where it lacks its modality or its item is not in the gallery.

    A missing query fails like a missing item. The queries are those of `sides_of`, where `same` is explained: every
    sample, unless a clip has several captions.
    """
    return ranks_between(sides_of(embedded, direction, cosine=cosine, same=same, device=device)).cpu()


def ranks_between(sides: Sides) -> Int[Tensor, " queries"]:
    """The ranks of the queries of two sides; see `ranks_of`."""
    return exact_ranks(
        sides.queries,
        sides.gallery,
        sides.match,
        query_present=sides.asked,
        gallery_present=sides.there,
        also_correct=sides.right,
    )
