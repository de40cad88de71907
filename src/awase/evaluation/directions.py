"""Which modality asks for which: the retrieval tasks between modalities, and the ranks of a set of embeddings in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from awase.evaluation.embed import Embedded
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


@dataclass(frozen=True)
class Gallery:
    """The vectors of one side of a direction, and which samples have one."""

    vectors: Float[Tensor, "samples dim"]
    present: Bool[Tensor, " samples"]


def side(embedded: Embedded, modalities: tuple[str, ...], *, cosine: bool) -> Gallery:
    """The sum of the modalities' embeddings, each of unit length where `cosine`; present where all of them are.

    The score of a query q with it is q.(v + a). One modality is a sum of one.
    """
    parts = [embedded.embeddings[name] for name in modalities]
    parts = [F.normalize(part, dim=1) for part in parts] if cosine else parts
    present = torch.stack([embedded.present[name] for name in modalities]).all(dim=0)
    total = torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0]
    return Gallery(total, present)


def ranks_of(
    embedded: Embedded,
    direction: Direction,
    *,
    cosine: bool,
    same: Mapping[str, Int[Tensor, " samples"]] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Int[Tensor, " queries"], Int[Tensor, " queries"]]:
    """(sample numbers of the queries, their ranks from 0): the samples that have the query's modality.

    A query whose own item is not in the gallery has rank -1. `same[modality]` numbers samples whose content in that
    modality is the same (captions): such samples are then right answers too.
    """
    queries = side(embedded, (direction.query,), cosine=cosine)
    gallery = side(embedded, direction.gallery, cosine=cosine)
    rows = queries.present.nonzero()[:, 0]
    groups = None
    if same is not None:
        name = direction.query if direction.query in same else next((m for m in direction.gallery if m in same), None)
        groups = None if name is None else same[name].to(device)
    ranks = exact_ranks(
        queries.vectors[rows].to(device),
        gallery.vectors.to(device),
        rows.to(device),
        gallery_present=gallery.present.to(device),
        also_correct=groups,
    )
    return rows, ranks.cpu()
