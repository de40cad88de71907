"""What lies below the adapters of encoders that stand still, computed once per sample and kept in memory."""

import logging
from typing import cast

import torch
from torch import Tensor

from awase.config import StageConfig
from awase.data.features import ClipDataset
from awase.encoders.blocks import BlockEncoder
from awase.fusion.rows import evaluating, put, put_encoded, rows_with, take_inputs
from awase.models import Retrieval
from awase.runner.known import EVALUATION_BATCH, Known, autocast, places, unchanging
from awase.runner.setting import Setting
from awase.types import Batch, Below, Encoded, Inputs, map_inputs

log = logging.getLogger(__name__)


class KnownBelow:
    """`known`, and beside it the hidden states below the adapters of some modalities' encoders, of train and val.

    Made in evaluation mode when a split is first asked for. The encoders must not change while this object lives.
    """

    def __init__(self, known: Known, model: Retrieval, names: tuple[str, ...], setting: Setting) -> None:
        self.known, self.model, self.names, self.setting = known, model, names, setting
        self._tables: dict[tuple[str, str], Below] = {}
        self._places: dict[str, Tensor] = {}

    def missing(self, split: str) -> tuple[str, ...]:
        """The modalities whose inputs a batch must have."""
        return tuple(name for name in self.known.missing(split) if name not in self.names or split == "test")

    def of(self, batch: Batch, split: str) -> dict[str, Encoded | Below]:
        """The known features of a batch, and what is known below the adapters."""
        if split == "test":
            return dict(self.known.of(batch, split))
        tables = {name: self._table(split, name) for name in self.names}
        rows = self._places[split][batch.index] if self.names else batch.index
        below = {
            name: Below(take_inputs(table.hidden, rows), Encoded(table.shared.pooled[rows]))
            for name, table in tables.items()
        }
        return {**self.known.of(batch, split), **below}

    def _table(self, split: str, name: str) -> Below:
        """Of all samples of the split; `_places` says where a sample stands."""
        if (split, name) not in self._tables:
            dataset = self.setting.dataset
            assert not isinstance(dataset, ClipDataset), "clips of a store are drawn anew"
            loader = dataset.loader(
                split,
                batch_size=EVALUATION_BATCH,
                modalities=self.model.modalities,
                inputs=(name,),
                workers=self.setting.runtime.workers,
            )
            self._places.setdefault(split, places(loader, len(dataset.ids)).to(self.setting.device))
            encoder = cast(BlockEncoder, self.model.encoders[name])
            with evaluating(encoder), torch.no_grad(), autocast(self.setting):
                parts = [_below(encoder, name, batch.to(self.setting.device)) for batch in loader.epoch(0)]
            hidden = _joined([part.hidden for part in parts])
            self._tables[split, name] = Below(hidden, Encoded(torch.cat([part.shared.pooled for part in parts])))
            log.info("keeping %.1f MiB below the adapters of %s, %s", _mebibytes(hidden), name, split)
        return self._tables[split, name]


def with_below(known: Known, model: Retrieval, stage: StageConfig, trained: tuple[str, ...], setting: Setting) -> Known:
    """`known` with what lies below the adapters of combinations, where the stage's `execution` is `cached`.

    Of modalities whose encoder stands still, has blocks below its adapters, and an input about which nothing is drawn
    anew each epoch. Raises `ValueError` where there are none, or clips of a store.
    """
    combinations = None if stage.retrieval is None else stage.retrieval.combinations
    if combinations is None or combinations.execution != "cached":
        return known
    clips = isinstance(setting.dataset, ClipDataset)
    same = frozenset[str]() if clips else unchanging(stage, trained, setting)
    names = tuple(name for name in model.adapted if name in same and cast(BlockEncoder, model.encoders[name]).cut > 0)
    if not names:
        raise ValueError(
            "Nothing lies below adapters that could be kept: execution='cached' needs adapters in the last blocks "
            "(`last_layers`) of an encoder that stands still, and an input without augmentation, corruption and mixup. "
            "Use execution='batched'."
        )
    return KnownBelow(known, model, names, setting)


def _below(encoder: BlockEncoder, name: str, batch: Batch) -> Below:
    """Of the samples of a batch; zeros for those without the modality."""
    rows, size = rows_with(batch, name), len(batch)
    nobody = rows is not None and len(rows) == 0
    some = torch.zeros(1, dtype=torch.long, device=batch.index.device) if nobody else rows  # one row gives the shapes
    hidden = encoder.prefix(take_inputs(batch.inputs[name], some))
    shared = put_encoded(Encoded(encoder.suffix(hidden).pooled), some, size)
    below = Below(map_inputs(hidden, lambda value: put(value, some, size)), shared)
    return _nothing_of(below) if nobody else below


def _nothing_of(below: Below) -> Below:
    return Below(map_inputs(below.hidden, torch.zeros_like), Encoded(torch.zeros_like(below.shared.pooled)))


def _joined(parts: list[Inputs]) -> Inputs:
    if isinstance(parts[0], Tensor):
        return torch.cat(cast(list[Tensor], parts))
    return {name: torch.cat([cast(dict[str, Tensor], part)[name] for part in parts]) for name in parts[0]}


def _mebibytes(hidden: Inputs) -> float:
    values = [hidden] if isinstance(hidden, Tensor) else list(hidden.values())
    return sum(value.nbytes for value in values) / 2**20
