"""A reservoir of training samples, some of which stand beside those of every batch."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from awase.config import KeptConfig, StageConfig
from awase.config.policies import ReplayPolicy
from awase.data import BatchLoader
from awase.data.transforms import generator_for
from awase.runner.known import Known
from awase.runner.setting import Setting
from awase.types import Batch, Inputs, Loader, map_inputs

_RESERVOIR = 3


class Replayed:
    """The batches of a loader, each followed by samples of a reservoir, of which only the old modalities are there.

    The reservoir is passed through again and again, in a new order each time: which of its samples stand beside a batch
    follows from the number of the batch.
    """

    def __init__(self, batches: Loader, reservoir: Loader) -> None:
        self.batches, self.reservoir = batches, reservoir

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def num_samples(self) -> int:
        """Rows of an epoch, without those of the reservoir."""
        return self.batches.num_samples

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on."""
        first = epoch * len(self) + start
        for number, batch in enumerate(self.batches.epoch(epoch, start), start=first):
            again, place = divmod(number, len(self.reservoir))
            yield with_replayed(batch, next(iter(self.reservoir.epoch(again, start=place))))


def replayed(batches: Loader, stage: StageConfig, known: Known, setting: Setting) -> Loader:
    """The loader with the reservoir of the stage's policy; the loader itself where it has none.

    Raises `ValueError` for clips of a store, and for a reservoir of fewer than two samples.
    """
    assert stage.retrieval is not None, "the stage has a joint space"
    kept = stage.retrieval.kept
    policy = next((one for one in kept.policies if isinstance(one, ReplayPolicy)), None) if kept is not None else None
    if kept is None or policy is None:
        return batches
    return Replayed(batches, reservoir_loader(kept, policy, stage, known, setting))


def reservoir_loader(
    kept: KeptConfig, policy: ReplayPolicy, stage: StageConfig, known: Known, setting: Setting
) -> BatchLoader:
    """Augmented batches of the reservoir: the inputs of the old modalities that are not known."""
    missing = set(known.missing("train"))
    loader = setting.dataset.loader(
        "train",
        batch_size=policy.rows or stage.training.batch_size,
        modalities=kept.modalities,
        inputs=[name for name in kept.modalities if name in missing],
        seed=setting.seed,
        train=True,
        rank=setting.world.rank,
        world_size=setting.world.size,
    )
    if not isinstance(loader, BatchLoader):
        raise ValueError("Clips of a store are drawn anew each epoch and cannot be kept; leave out the policy replay.")
    paired = loader.rows[loader.content.presence(loader.rows).sum(axis=1) >= 2]
    rows = reservoir(paired, policy.share, setting.seed)
    if len(rows) < 2:
        raise ValueError(
            f"A share of {policy.share:g} of {len(paired)} samples with two of {', '.join(kept.modalities)} is "
            f"{len(rows)}; a loss of pairs needs 2 or more. Raise `share`."
        )
    size = min(loader.settings.batch_size, len(rows))
    return BatchLoader(loader.content, rows, replace(loader.settings, batch_size=size))


def reservoir(rows: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A share of the rows, rounded, drawn without replacement; every row is as likely as any other. In their order."""
    chosen = generator_for(seed, _RESERVOIR).choice(len(rows), size=round(share * len(rows)), replace=False)
    return rows[np.sort(chosen)]


def with_replayed(batch: Batch, more: Batch) -> Batch:
    """The samples of both, those of `more` marked as replayed; what `more` lacks is absent from its samples."""
    size = len(more)
    none = torch.zeros(size, dtype=torch.bool)
    present = {name: torch.cat([mask, more.present.get(name, none)]) for name, mask in batch.present.items()}
    return replace(
        batch,
        ids=(*batch.ids, *more.ids),
        index=torch.cat([batch.index, more.index]),
        inputs={name: _joined(value, more.inputs.get(name), size) for name, value in batch.inputs.items()},
        present=present,
        complete=frozenset(name for name in batch.complete if bool(present[name].all())),
        replayed=torch.cat([torch.zeros(len(batch), dtype=torch.bool), torch.ones(size, dtype=torch.bool)]),
    )


def _joined(value: Inputs, more: Inputs | None, size: int) -> Inputs:
    """The rows of both; zeros where there are no more."""
    if more is None:
        return map_inputs(value, lambda one: torch.cat([one, one.new_zeros(size, *one.shape[1:])]))
    if isinstance(value, Tensor):
        assert isinstance(more, Tensor), "both are inputs of one modality"
        return torch.cat([value, more])
    assert not isinstance(more, Tensor), "both are inputs of one modality"
    return {name: torch.cat([one, more[name]]) for name, one in value.items()}
