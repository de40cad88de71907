"""Loaders of clips: in training whole videos with their clips, else rows that are fixed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from awase.data.ordered import ordered_map
from awase.data.transforms import generator_for
from awase.types import Batch

_ORDER = 13


@dataclass(frozen=True)
class Sharing:
    """How batches are shared among processes and threads; see `ClipDataset.loader`."""

    seed: int = 0
    workers: int = 0
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        """Raises `ValueError` for a rank that there is not."""
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"The rank is {self.rank} of {self.world_size} processes; it counts from 0.")

    def part(self, members: np.ndarray) -> np.ndarray:
        """This process's consecutive share."""
        return np.array_split(members, self.world_size)[self.rank]


@dataclass(frozen=True, eq=False)
class RowLoader:
    """Batches of fixed rows, in order; the last may be smaller. `make(rows)` gives a batch."""

    rows: np.ndarray
    batch_size: int
    make: Callable[[np.ndarray], Batch]
    sharing: Sharing

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    @property
    def num_samples(self) -> int:
        """Rows of an epoch over all processes."""
        return len(self.rows)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches from number `start` on; every epoch is the same."""
        workers = self.sharing.workers
        yield from ordered_map(self._batch, range(start, len(self)), workers, workers + 1)

    def _batch(self, number: int) -> Batch:
        return self.make(self.sharing.part(self.rows[number * self.batch_size : (number + 1) * self.batch_size]))


@dataclass(frozen=True, eq=False)
class VideoLoader:
    """Batches of `videos_per_batch` videos over all processes with `clips_per_video` clips each.

    The order is drawn from (seed, epoch). The clips of a video follow one another and are never divided among
    processes; the last batch may have fewer videos. `make(videos, epoch)` gives a batch.
    """

    videos: np.ndarray
    videos_per_batch: int
    clips_per_video: int
    make: Callable[[np.ndarray, int], Batch]
    sharing: Sharing
    in_order: bool = False
    """Measuring, not training: the order of `videos`, and in every epoch the clips of epoch 0."""

    def __len__(self) -> int:
        return -(-len(self.videos) // self.videos_per_batch)

    @property
    def num_samples(self) -> int:
        """Clips of an epoch over all processes."""
        return len(self.videos) * self.clips_per_video

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on, the same whether or not those before were made."""
        epoch = 0 if self.in_order else epoch
        generator = generator_for(self.sharing.seed, _ORDER, epoch)
        order = self.videos if self.in_order else generator.permutation(self.videos)
        size, workers = self.videos_per_batch, self.sharing.workers

        def batch(number: int) -> Batch:
            return self.make(self.sharing.part(order[number * size : (number + 1) * size]), epoch)

        yield from ordered_map(batch, range(start, len(self)), workers, workers + 1)
