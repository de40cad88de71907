"""Batches of one split, each a function of (seed, epoch, number)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from awase.data.collate import Content, assemble, check_mixup, mix
from awase.data.columns import Draw
from awase.data.ordered import ordered_map
from awase.data.transforms import generator_for
from awase.types import Batch

_ORDER, _MIXUP = 1, 2


@dataclass(frozen=True)
class Settings:
    """How a split becomes batches; see `Dataset.loader`."""

    batch_size: int
    seed: int = 0
    train: bool = False
    mixup: float = 0.0
    workers: int = 0
    rank: int = 0
    world_size: int = 1


class BatchLoader:
    """The batches of `rows`, in order, or in training in an order drawn from (seed, epoch); the last may be smaller.

    Each batch is of `batch_size` rows over all processes, of which this one gets its consecutive share
    (`np.array_split`; it may be empty in a last batch of fewer rows than processes). `workers` threads make batches
    ahead; the batches do not depend on their number.
    """

    def __init__(self, content: Content, rows: np.ndarray, settings: Settings) -> None:
        if settings.batch_size < 1:
            raise ValueError(f"A batch needs 1 row or more; batch_size is {settings.batch_size}.")
        if not 0 <= settings.rank < settings.world_size:
            raise ValueError(f"The rank is {settings.rank} of {settings.world_size} processes; it counts from 0.")
        if settings.mixup > 0:
            check_mixup(content)
        self.content, self.rows, self.settings = content, rows, settings

    def __len__(self) -> int:
        return -(-len(self.rows) // self.settings.batch_size)

    @property
    def num_samples(self) -> int:
        """Rows of an epoch over all processes."""
        return len(self.rows)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on, the same whether or not those before were made."""
        order = self._order(epoch)
        workers = self.settings.workers
        yield from ordered_map(
            lambda number: self._batch(order, epoch, number), range(start, len(self)), workers, workers + 1
        )

    def _order(self, epoch: int) -> np.ndarray:
        if not self.settings.train:
            return self.rows
        return self.rows[generator_for(self.settings.seed, _ORDER, epoch).permutation(len(self.rows))]

    def _batch(self, order: np.ndarray, epoch: int, number: int) -> Batch:
        settings = self.settings
        rows = order[number * settings.batch_size : (number + 1) * settings.batch_size]
        share = np.array_split(np.arange(len(rows)), settings.world_size)[settings.rank]
        draw = Draw(settings.seed, epoch if settings.train else None)
        if settings.train and settings.mixup > 0:
            generator = generator_for(settings.seed, _MIXUP, epoch, number)
            return mix(self.content, rows, share, draw, generator, settings.mixup)
        return assemble(self.content, rows[share], draw)
