"""Which keys of combinations a step trains: all that learn, or some of them, drawn anew for every step."""

from collections.abc import Sequence

import torch

from awase.config import CombinationsConfig, StageConfig
from awase.digest import json_digest
from awase.training.identity import UNREAD


class KeyDraw:
    """The draws of one stage: functions of the seed, of what the stage trains and of the optimiser step alone.

    So they are the same on all processes, and after an interruption.
    """

    def __init__(self, config: CombinationsConfig, stage: StageConfig, seed: int) -> None:
        self.keys, self.count = config.learned, config.keys_per_step
        self._start = json_digest({"seed": seed, "stage": stage.model_dump(mode="json", exclude=UNREAD)})
        self.now = self.keys if self.count is None else self.at(0)

    @property
    def factor(self) -> float:
        """|S| / s: with this weight the mean of a step's losses over all draws is the loss of all keys."""
        return 1.0 if self.count is None else len(self.keys) / self.count

    def at(self, step: int) -> tuple[str, ...]:
        """The keys of an optimiser step, in the order of the configuration."""
        return drawn(self.keys, self.count, f"{self._start}|{step}")

    def begin(self, step: int) -> None:
        """Draws for an optimiser step; all of its batches have the same keys."""
        self.now = self.at(step)


def drawn(keys: Sequence[str], count: int | None, start: str) -> tuple[str, ...]:
    """So many of the keys, each set of them equally likely; None: all. `start` begins the random numbers."""
    if count is None:
        return tuple(keys)
    seed = int(json_digest(start)[:15], 16)
    chosen = torch.randperm(len(keys), generator=torch.Generator().manual_seed(seed))[:count]
    return tuple(keys[place] for place in sorted(chosen.tolist()))
