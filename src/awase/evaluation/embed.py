"""The embeddings of a split: one pass in evaluation mode."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from awase.fusion.rows import evaluating
from awase.models import Retrieval
from awase.types import Batch, Encoded


@dataclass(frozen=True)
class Embedded:
    """Embeddings, a row per sample, on the CPU in float32; they mean something only where `present`."""

    ids: tuple[str, ...]
    index: Int[Tensor, " samples"]
    embeddings: dict[str, Float[Tensor, "samples dim"]]
    present: dict[str, Bool[Tensor, " samples"]]

    def __len__(self) -> int:
        return len(self.ids)


def embed(
    model: Retrieval,
    batches: Iterable[Batch],
    device: torch.device | str,
    *,
    known: Callable[[Batch], Mapping[str, Encoded]] | None = None,
) -> Embedded:
    """The embeddings of one pass without gradients; the modes of all modules are put back.

    `known` gives features that need not be computed. Raises `ValueError` where there is no sample.
    """
    parts: list[Embedded] = []
    with evaluating(model), torch.no_grad():
        for batch in batches:
            if len(batch):
                moved = batch.to(device)
                output = model(moved) if known is None else model(moved, known=known(moved))
                parts.append(_part(batch, model.modalities, output.embeddings))
    if not parts:
        raise ValueError("There is no sample to embed: no row of the split has any of the modalities.")
    return Embedded(
        tuple(name for part in parts for name in part.ids),
        torch.cat([part.index for part in parts]),
        {name: torch.cat([part.embeddings[name] for part in parts]) for name in model.modalities},
        {name: torch.cat([part.present[name] for part in parts]) for name in model.modalities},
    )


def _part(batch: Batch, modalities: tuple[str, ...], embeddings: Mapping[str, Tensor]) -> Embedded:
    nowhere = torch.zeros(len(batch), dtype=torch.bool)
    return Embedded(
        batch.ids,
        batch.index.cpu(),
        {name: embeddings[name].detach().float().cpu() for name in modalities},
        {name: batch.present.get(name, nowhere).cpu() for name in modalities},
    )
