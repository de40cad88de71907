"""Which modality asks for which: the retrieval tasks between modalities, and the ranks of embeddings in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from awase.evaluation.embed import Embedded
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


def ranks_of(
    embedded: Embedded,
    direction: Direction,
    *,
    cosine: bool,
    same: Mapping[str, Int[Tensor, " samples"]] | None = None,
    device: torch.device | str = "cpu",
) -> Int[Tensor, " samples"]:
    """Each sample's rank from 0 as a query; -1 where it lacks the query's modality or is not in the gallery.

    A missing query fails like a missing item. `same[modality]` numbers samples whose content in that
    modality is the same (captions): such samples are then right answers too.
    """
    queries, asked = side(embedded, (direction.query,), cosine=cosine)
    gallery, there = side(embedded, direction.gallery, cosine=cosine)
    named = [name for name in (direction.query, *direction.gallery) if name in (same or {})]
    ranks = exact_ranks(
        queries.to(device),
        gallery.to(device),
        torch.arange(len(queries), device=device),
        query_present=asked.to(device),
        gallery_present=there.to(device),
        also_correct=(same or {})[named[0]].to(device) if named else None,
    )
    return ranks.cpu()
