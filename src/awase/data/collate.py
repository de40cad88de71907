"""Rows of a data set to one batch, and mixup of a batch."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from awase.data.columns import Column, Draw, TextColumn
from awase.types import Batch, Inputs


@dataclass(frozen=True)
class Content:
    """What batches are made from: the columns of the modalities in use, ids and targets of all rows (no classes: none).

    Of every modality a batch says who has it; it holds the inputs of those in `made` (None: of all).
    """

    ids: tuple[str, ...]
    targets: np.ndarray
    num_classes: int
    columns: dict[str, Column]
    made: frozenset[str] | None = None

    def inputs(self, rows: np.ndarray, draw: Draw) -> dict[str, Inputs]:
        """The tensors of the rows, of the modalities that are made."""
        return {name: column.tensor(rows, draw) for name, column in self.columns.items() if self.is_made(name)}

    def is_made(self, name: str) -> bool:
        """Whether batches hold the inputs of a modality."""
        return self.made is None or name in self.made

    def presence(self, rows: np.ndarray) -> np.ndarray:
        """(rows, modalities) bool."""
        return np.stack([column.present[rows] for column in self.columns.values()], axis=1)


def assemble(content: Content, rows: np.ndarray, draw: Draw) -> Batch:
    """The batch of `rows`."""
    present = {name: column.present[rows] for name, column in content.columns.items()}
    texts = {name: c for name, c in content.columns.items() if isinstance(c, TextColumn) and content.is_made(name)}
    several = {name: mask for name, c in texts.items() if (mask := c.candidates(rows, draw)) is not None}
    return Batch(
        ids=tuple(content.ids[row] for row in rows.tolist()),
        index=torch.from_numpy(rows),
        inputs=content.inputs(rows, draw),
        present={name: torch.from_numpy(value) for name, value in present.items()},
        complete=frozenset(name for name, value in present.items() if value.all()),
        targets=torch.from_numpy(content.targets[rows]) if content.num_classes else None,
        candidates=several,
    )


def check_mixup(content: Content) -> None:
    """Raises `ValueError` where a modality is text: token numbers have no weighted mean."""
    texts = [name for name, column in content.columns.items() if isinstance(column, TextColumn)]
    if texts:
        raise ValueError(f"Mixup cannot mix the text of {', '.join(map(repr, texts))}; set training.mixup to 0.")


def mix(
    content: Content, rows: np.ndarray, share: np.ndarray, draw: Draw, generator: np.random.Generator, alpha: float
) -> Batch:
    """The `share` (positions) of the mixed batch of `rows`: l x + (1 - l) x', one l ~ Beta(alpha, alpha) per batch.

    The partners x' are a permutation of the batch among the rows with the same modalities present, so that nothing is
    mixed with zeros. Targets are mixed likewise: (batch, classes). Source: Zhang et al. 2018.
    """
    weight = float(generator.beta(alpha, alpha))
    partner = partners(content.presence(rows), generator)[share]
    needed, inverse = np.unique(np.concatenate([share, partner]), return_inverse=True)
    batch = assemble(content, rows[needed], draw)
    own, other = torch.from_numpy(inverse[: len(share)]), torch.from_numpy(inverse[len(share) :])
    assert batch.targets is not None
    soft = batch.targets if batch.targets.dim() == 2 else F.one_hot(batch.targets, content.num_classes).float()
    present = {name: value[own] for name, value in batch.present.items()}
    return replace(
        batch,
        ids=tuple(batch.ids[position] for position in own.tolist()),
        index=batch.index[own],
        inputs={name: _mixed(value, own, other, weight) for name, value in batch.inputs.items()},
        present=present,
        complete=frozenset(name for name, value in present.items() if bool(value.all())),
        targets=weight * soft[own] + (1 - weight) * soft[other],
    )


def partners(presence: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A permutation that maps each row to one with the same modalities present."""
    partner = np.arange(len(presence))
    _, pattern = np.unique(presence, axis=0, return_inverse=True)
    for number in range(pattern.max(initial=-1) + 1):
        members = np.flatnonzero(pattern == number)
        partner[members] = members[generator.permutation(len(members))]
    return partner


def _mixed(value: Inputs, own: Tensor, other: Tensor, weight: float) -> Tensor:
    assert isinstance(value, Tensor)
    return torch.lerp(value[other], value[own], weight)
