"""The embeddings of a split: one pass in evaluation mode."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from awase.fusion.rows import evaluating
from awase.models import Retrieval
from awase.types import Batch, Below, Encoded, RetrievalOutput
from awase.vocabulary import SHARED_NAME


@dataclass(frozen=True)
class Embedded:
    """Embeddings, a row per sample, on the CPU in float32; they mean something only where `present`."""

    ids: tuple[str, ...]
    index: Int[Tensor, " samples"]
    embeddings: dict[str, Float[Tensor, "samples dim"]]
    present: dict[str, Bool[Tensor, " samples"]]
    several: dict[str, Int[Tensor, " samples"]] = field(default_factory=dict)
    """Of a modality of which a clip has several items (captions), each of them a sample: the clip of every sample. In
    the other modalities the samples of a clip are the same. Empty where a sample is a clip."""
    keyed: dict[str, dict[str, Float[Tensor, "samples dim"]]] = field(default_factory=dict)
    """Combination of modalities (`audio+text`) -> modality -> embeddings under that combination's adapters."""
    key: str | None = None
    """What `embeddings` are under where only one key is there: a combination or `shared`; None: shared, beside
    `keyed`."""

    def under(self, modalities: Collection[str]) -> "Embedded":
        """What these modalities are compared with: their combination's own embeddings, where it has adapters."""
        key = self.key_of(modalities)
        return self if key is None else replace(self, embeddings={**self.embeddings, **self.keyed[key]}, keyed={})

    def key_of(self, modalities: Collection[str]) -> str | None:
        """The combination of exactly these modalities, where it has adapters."""
        key = "+".join(sorted(modalities))
        return key if key in self.keyed else None

    def of_key(self, key: str) -> "Embedded":
        """The embeddings under one key, `shared` or a combination; raises `ValueError` where they were not made."""
        if key == (self.key or SHARED_NAME):
            return replace(self, keyed={}, key=key)
        if key not in self.keyed:
            known = ", ".join((self.key or SHARED_NAME, *self.keyed))
            raise ValueError(f"These samples are not embedded under {key}; they are under {known}.")
        own = self.keyed[key]
        return replace(self, embeddings=own, present={name: self.present[name] for name in own}, keyed={}, key=key)

    @property
    def clips(self) -> Int[Tensor, " samples"]:
        """A number per sample, the same for samples of one clip."""
        return next(iter(self.several.values()), torch.arange(len(self)))

    def one_per_clip(self) -> "Embedded":
        """The first sample of every clip."""
        if not self.several:
            return self
        rows = first_rows(self.clips)
        return Embedded(
            tuple(self.ids[row] for row in rows.tolist()),
            self.index[rows],
            {name: values[rows] for name, values in self.embeddings.items()},
            {name: there[rows] for name, there in self.present.items()},
            keyed={key: {name: value[rows] for name, value in own.items()} for key, own in self.keyed.items()},
            key=self.key,
        )

    def __len__(self) -> int:
        return len(self.ids)


def first_rows(numbers: Int[Tensor, " rows"]) -> Int[Tensor, " numbers"]:
    """The first row of every number, ascending. Example: of `[7, 7, 2, 7, 2]` the rows `[0, 2]`."""
    inverse = numbers.unique(return_inverse=True)[1]
    rows = torch.arange(len(numbers), device=numbers.device)
    count = int(inverse.max()) + 1 if len(numbers) else 0
    return rows.new_full((count,), len(numbers)).scatter_reduce(0, inverse, rows, "amin").sort().values


def embed(
    model: Retrieval,
    batches: Iterable[Batch],
    device: torch.device | str,
    *,
    known: Callable[[Batch], Mapping[str, Encoded | Below]] | None = None,
    keys: Collection[str] | None = None,
) -> Embedded:
    """The embeddings of one pass without gradients; the modes of all modules are put back.

    `known` gives features that need not be computed; `keys` names the combinations that are (None: all). Raises
    `ValueError` where there is no sample.
    """
    parts: list[Embedded] = []
    with evaluating(model), torch.no_grad():
        for batch in batches:
            if len(batch):
                moved = batch.to(device)
                output = model(moved, known=None if known is None else known(moved), keys=keys)
                parts.append(_part(batch, model.modalities, output))
    if not parts:
        raise ValueError("There is no sample to embed: no row of the split has any of the modalities.")
    return Embedded(
        tuple(name for part in parts for name in part.ids),
        torch.cat([part.index for part in parts]),
        {name: torch.cat([part.embeddings[name] for part in parts]) for name in model.modalities},
        {name: torch.cat([part.present[name] for part in parts]) for name in model.modalities},
        keyed={
            key: {name: torch.cat([part.keyed[key][name] for part in parts]) for name in own}
            for key, own in parts[0].keyed.items()
        },
    )


def _part(batch: Batch, modalities: tuple[str, ...], output: RetrievalOutput) -> Embedded:
    nowhere = torch.zeros(len(batch), dtype=torch.bool)
    return Embedded(
        batch.ids,
        batch.index.cpu(),
        {name: output.embeddings[name].detach().float().cpu() for name in modalities},
        {name: batch.present.get(name, nowhere).cpu() for name in modalities},
        keyed={
            key: {name: value.detach().float().cpu() for name, value in own.items()}
            for key, own in output.keyed.items()
        },
    )
