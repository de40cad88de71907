"""Losses and weights that stop being numbers: found, and said of which samples and after which step."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from awase.types import Batch

MOST_LATE = 50
"""So many micro-batches' losses are kept before they are looked at on a GPU."""


class TrainingDivergedError(ArithmeticError):
    """The loss stopped being a number; the last good checkpoint was kept."""


class LossesNoted:
    """The losses of micro-batches until they are looked at: at once on the CPU, late on a GPU, where a look waits."""

    def __init__(self, device: str) -> None:
        self.late = device != "cpu"
        self._kept: list[tuple[int, Batch, Tensor]] = []

    def note(self, step: int, batch: Batch, losses: Tensor) -> None:
        """Keeps the losses of a micro-batch of an optimiser step."""
        self._kept.append((step, batch, losses))

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return not self.late or len(self._kept) >= MOST_LATE

    def take(self, epoch: int) -> Iterator[tuple[float, int]]:
        """The sum and the number of the losses of each micro-batch kept, which are then forgotten.

        Raises `TrainingDivergedError`, naming the step and the samples, at one that is not finite.
        """
        for step, batch, losses in self._kept:
            finite = torch.isfinite(losses).cpu()
            if not bool(finite.all()):
                ids = [name for name, good in zip(batch.ids, finite.tolist(), strict=True) if not good]
                raise TrainingDivergedError(
                    f"The loss is not finite at optimiser step {step} of epoch {epoch} for the samples "
                    f"{', '.join(ids[:20])}. The last good checkpoint was kept; "
                    "a lower learning rate, warm-up, or clip_norm usually helps, and so does a look at these samples."
                )
            yield float(losses.double().sum()), len(losses)
        self._kept.clear()


def check_weights(tensors: Mapping[str, Tensor], step: int, epoch: int) -> None:
    """Raises `TrainingDivergedError` with the name of a tensor that is not finite after an optimiser step."""
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise TrainingDivergedError(
                f"{name} is not finite after optimiser step {step} of epoch {epoch}. The last good checkpoint was "
                "kept; a lower learning rate, warm-up, or clip_norm usually helps."
            )
