"""An embedded table on disk, and what in it is nearest to a text, a sound, a picture or a clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from awase.digest import tensors_digest
from awase.evaluation import Embedded
from awase.evaluation.directions import side
from awase.runner.collection_files import CollectionHeader, Item, has_shard, read_header, read_items, read_shard
from awase.runner.collection_nearest import Shard, nearest
from awase.runner.collection_query import embed_query, gallery_of, query_modality
from awase.runner.space import Space
from awase.vocabulary import SHARED_NAME


@dataclass(frozen=True)
class Hit:
    """One item that was found: its place in the table, its score, and what is known about it."""

    row: int
    score: float
    item: Item


@dataclass(frozen=True)
class Found:
    """What a search gave, best first; `missing` items lack a modality that was searched in, and were not compared."""

    hits: tuple[Hit, ...]
    query: str
    """The modality of the query."""
    gallery: tuple[str, ...]
    score: str
    """`cosine` or `dot`."""
    num_items: int
    missing: int
    under: str = SHARED_NAME
    """The key that both sides are embedded under."""


class Collection:
    """A table embedded by `awase embed`. Nothing but its description is read until it is searched."""

    def __init__(self, folder: Path, header: CollectionHeader) -> None:
        self.folder, self.header = folder, header
        self._space: Space | None = None

    @classmethod
    def open(cls, folder: str | Path) -> "Collection":
        """The collection in a folder; raises `FileNotFoundError` where there is none, `ValueError` for half of one."""
        place = Path(folder)
        header = read_header(place)
        if header is None:
            raise FileNotFoundError(
                f"{place} holds no collection; make one with `awase embed RUN TABLE --out {place}`."
            )
        done = sum(has_shard(place, shard) for shard in range(header.num_shards))
        if done < header.num_shards:
            raise ValueError(
                f"{place} is not complete: {done} of {header.num_shards} shards are there. The same `awase embed` "
                "command goes on with the rest."
            )
        return cls(place, header)

    def __len__(self) -> int:
        return self.header.num_items

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the model that embedded it, or of the key."""
        return self.header.modalities

    def space(self, source: str | Path | None = None, *, device: str = "auto", cache: Path | None = None) -> Space:
        """The model that embedded the collection, from where it was then or from `source`; loaded once.

        Raises `ValueError` for a model with other weights.
        """
        if self._space is None:
            self.use(Space.from_pretrained(source or self.header.source, device=device, cache=cache))
        assert self._space is not None, "it was just loaded"
        return self._space

    def use(self, space: Space) -> None:
        """Embeds queries with a model that is loaded already; raises `ValueError` for one with other weights."""
        if tensors_digest(space.model.state_dict()) != self.header.weights:
            raise ValueError(
                f"{self.folder} was embedded by another model ({self.header.source}): scores between two models mean "
                "nothing. Name that model with --run, or embed the table again."
            )
        self._space = space

    def search(
        self,
        query: str | Path,
        *,
        of: str | None = None,
        within: Sequence[str] | None = None,
        k: int = 10,
        index: str = "auto",
    ) -> Found:
        """The `k` best items for a text or a file of the modality `of`, scored with the modalities `within`.

        `of` may be left out where only one modality can be meant; `within` is all the others. The score is the one of
        the model's evaluation: q.(v + a) of items that have all of these modalities, or with cosines the mean over
        those that an item has. Under a key the query and `within` are exactly its modalities, and only items that have
        all of `within` are compared. All items, where `k` is more. Raises `ValueError` and `FileNotFoundError` for
        queries that cannot be embedded, for modalities that are not there, and for those of another key.
        """
        space = self.space()
        modality = query_modality(space, query, of, self.modalities)
        gallery = gallery_of(within, self.modalities, modality)
        self._check_key(modality, gallery)
        vector = embed_query(space, query, modality, under=self.header.under)
        return self.search_vector(vector, modality, gallery, k=k, index=index)

    def search_vector(
        self, vector: Float[Tensor, " dim"], of: str, within: Sequence[str], *, k: int = 10, index: str = "auto"
    ) -> Found:
        """`search` with an embedding of the collection's model under its key, not normalised, as `Space.embed` gives
        it."""
        gallery = gallery_of(within, self.modalities, of)
        self._check_key(of, gallery)
        everyone = torch.ones(1, dtype=torch.bool)
        one = Embedded(("query",), torch.zeros(1, dtype=torch.int64), {of: vector[None].cpu()}, {of: everyone})
        query = side(one, (of,), cosine=self.header.cosine)[0][0]
        rows, scores, compared = nearest(query, self._shards(gallery), k, index=index)
        items = read_items(self.folder, self.header, rows.tolist())
        hits = [Hit(row, score, item) for row, score, item in zip(rows.tolist(), scores.tolist(), items, strict=True)]
        name = "cosine" if self.header.cosine else "dot"
        return Found(tuple(hits), of, gallery, name, len(self), len(self) - compared, self.header.under)

    def _check_key(self, of: str, gallery: tuple[str, ...]) -> None:
        """Raises `ValueError` where the collection is embedded under the key of another task."""
        under = self.header.under
        if "+" in under and {of, *gallery} != set(under.split("+")):  # else shared, or of a data set: for all tasks
            others = "+".join(sorted(set(under.split("+")) - {of}))
            own = "+".join(sorted({of, *gallery}))
            raise ValueError(
                f"{self.folder} is embedded under {under}, which is for exactly these modalities. With a query of {of} "
                f"search in {others}; for {of} in {'+'.join(gallery)} embed the table again with --under {own}, if "
                "the model has such adapters, or --under shared."
            )

    def _shards(self, gallery: tuple[str, ...]) -> Iterator[Shard]:
        for shard in range(self.header.num_shards):
            tensors = read_shard(self.folder, shard, gallery)
            count = len(next(iter(tensors.values()))[1])
            part = Embedded(
                tuple(map(str, range(count))),
                torch.arange(count),
                {name: rows for name, (rows, _) in tensors.items()},
                {name: there for name, (_, there) in tensors.items()},
            )
            rows, there = side(part, gallery, cosine=self.header.cosine)
            if "+" in self.header.under:
                there = torch.stack([part.present[name] for name in gallery]).all(dim=0)
            yield rows, there
