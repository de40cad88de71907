"""Which keys of combinations a step trains: all that learn, or some of them, drawn anew for every step."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from awase.config import CombinationsConfig, StageConfig
from awase.digest import json_digest
from awase.models.retrieval import keys_with
from awase.training.identity import UNREAD

Keyed = Mapping[str, Mapping[str, Tensor]]


class KeyDraw:
    """The draws of one stage: functions of the seed, of what the stage trains and of the optimiser step alone.

    So they are the same on all processes, and after an interruption.
    """

    def __init__(self, config: CombinationsConfig, stage: StageConfig, seed: int) -> None:
        self.keys, self.count, self.shuffles = config.learned, config.keys_per_step, config.shuffle_keys
        self._step = 0
        self._start = json_digest({"seed": seed, "stage": stage.model_dump(mode="json", exclude=UNREAD)})
        self.now = self.keys if self.count is None else self.at(0)

    @property
    def changes(self) -> bool:
        """Whether anything is drawn anew for every step."""
        return self.count is not None or self.shuffles

    @property
    def factor(self) -> float:
        """|S| / s: with this weight the mean of a step's losses over all draws is the loss of all keys."""
        return 1.0 if self.count is None else len(self.keys) / self.count

    def at(self, step: int) -> tuple[str, ...]:
        """The keys of an optimiser step, in the order of the configuration."""
        return drawn(self.keys, self.count, f"{self._start}|{step}")

    def begin(self, step: int) -> None:
        """Draws for an optimiser step; all of its batches have the same keys."""
        self._step, self.now = step, self.at(step)

    def exchanged(self, keyed: Keyed) -> Keyed:
        """Combination -> modality -> embeddings with each modality's keys of the step exchanged (`shuffle_keys`)."""
        if not self.shuffles:
            return keyed
        found: dict[str, dict[str, Tensor]] = {key: {} for key in keyed}
        for name in sorted({name for values in keyed.values() for name in values}):
            keys = keys_with(name, self.now)
            for key, other in zip(keys, permuted(keys, f"{self._start}|{self._step}|{name}"), strict=True):
                found[key][name] = keyed[other][name]
        return found


def drawn(keys: Sequence[str], count: int | None, start: str) -> tuple[str, ...]:
    """So many of the keys, each set of them equally likely; None: all. `start` begins the random numbers."""
    if count is None:
        return tuple(keys)
    chosen = set(permuted(keys, start)[:count])
    return tuple(key for key in keys if key in chosen)


def permuted(keys: Sequence[str], start: str) -> tuple[str, ...]:
    """The keys in an order, each as likely as any other; `start` begins the random numbers."""
    generator = torch.Generator().manual_seed(int(json_digest(start)[:15], 16))
    return tuple(keys[place] for place in torch.randperm(len(keys), generator=generator).tolist())
