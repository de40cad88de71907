"""Features that need not be computed again: of encoders that stand still, on inputs that do not change."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from awase.adapters import Bank
from awase.config import StageConfig
from awase.data import BatchLoader
from awase.data.features import ClipDataset
from awase.digest import json_digest, tensors_digest
from awase.fusion.rows import encode_rows, presence_of
from awase.models import Classifier, Retrieval
from awase.runner.setting import Setting
from awase.types import Batch, Below, Encoded

EVALUATION_BATCH = 32
"""On a CPU 64 small videos no longer fit the memory that the process keeps, and take up to 1.6 times as long each."""
SPLITS = ("train", "val", "test")


@runtime_checkable
class Known(Protocol):
    """Features of a split's batches that need not be computed."""

    def missing(self, split: str) -> tuple[str, ...]:
        """The modalities whose inputs a batch must have."""

    def of(self, batch: Batch, split: str) -> Mapping[str, Encoded | Below]:
        """The known features of a batch of a split, or what lies below the adapters of an encoder."""


class KnownFeatures:
    """The pooled features of some of a model's modalities, each sample encoded once; `names` says which, per split.

    A feature is what the encoder gives in evaluation mode, without augmentation, in batches of validation's size, and
    so the same bits whoever asks. It is read from the setting's memory where the same encoder (weights and adapters)
    has seen the same batches, whichever model it stood in. The encoders must not change while this object lives.
    """

    def __init__(self, model: Classifier | Retrieval, names: Mapping[str, frozenset[str]], setting: Setting) -> None:
        self.model, self.names, self.setting = model, names, setting
        self._tables: dict[tuple[str, str], Tensor] = {}
        self._places: dict[str, Tensor] = {}
        self._encoders: dict[str, str] = {}

    def missing(self, split: str) -> tuple[str, ...]:
        """The modalities whose inputs are still needed."""
        return tuple(name for name in self.model.modalities if name not in self.names[split])

    def of(self, batch: Batch, split: str) -> dict[str, Encoded]:
        """The known features of a batch of a split."""
        names = sorted(self.names[split])
        tables = {name: self._table(split, name) for name in names}
        return {name: Encoded(tables[name][self._places[split][batch.index]]) for name in names}

    def _table(self, split: str, name: str) -> Tensor:
        """(samples of the split, dim), zeros for those without the modality; `_places` says where a sample stands."""
        if (split, name) not in self._tables:
            loader = self._loader(split, name)
            if split not in self._places:
                self._places[split] = places(loader, len(self.setting.dataset.ids)).to(self.setting.device)
            key = self._key(split, name, loader)
            self._tables[split, name] = self.setting.memory.table(key, lambda: self._encoded(name, loader))
        return self._tables[split, name]

    def _loader(self, split: str, name: str) -> BatchLoader:
        """The inputs of one modality, in the batches of a pass over all of the model's."""
        dataset = self.setting.dataset
        assert not isinstance(dataset, ClipDataset), "its clips are drawn anew, and none of its features are kept"
        modalities, workers = self.model.modalities, self.setting.runtime.workers
        return dataset.loader(
            split, batch_size=EVALUATION_BATCH, modalities=modalities, inputs=(name,), workers=workers
        )

    def _key(self, split: str, name: str, loader: BatchLoader) -> str:
        """Of the encoder and of the rows that share its batches: rounding depends on them."""
        if name not in self._encoders:
            self._encoders[name] = features_digest(self.model, name)
        rows = tensors_digest({"rows": torch.from_numpy(loader.rows)})
        return json_digest([self._encoders[name], self.setting.seed, name, split, rows])

    @torch.no_grad()
    def _encoded(self, name: str, loader: BatchLoader) -> Tensor:
        encoder, parts = self.model.encoders[name].eval(), []
        for batch in loader.epoch(0):
            seen = batch.to(self.setting.device)
            with autocast(self.setting):
                parts.append(encode_rows(encoder, seen.inputs[name], presence_of(seen, name)).pooled)
        return torch.cat(parts)


def of_stage(
    model: Classifier | Retrieval, stage: StageConfig, trained: tuple[str, ...], setting: Setting
) -> KnownFeatures:
    """What a stage need not compute again while it trains the parts `trained`.

    In validation and test: the modalities of which it trains neither encoder nor adapter. In training only those of
    them about whose input nothing is drawn anew each epoch (augmentation, corruption, mixup). Nothing where the
    modalities meet inside the encoders, and of clips of a store (see `clips_of_stage`); in training, nothing where
    teachers must see the inputs.
    """
    frozen = standing_still(stage, trained) - seen(model) if _is_kept(model, setting) else frozenset[str]()
    if isinstance(model, Classifier):  # adapters of a key; those of a joint space may stand in the heads alone
        frozen -= {name for name in stage.modalities for part in trained if part.startswith(f"{name}.adapter.")}
    constant = frozen & unchanging(stage, trained, setting) if not stage.teachers else frozenset[str]()
    return KnownFeatures(model, {"train": constant, "val": frozen, "test": frozen}, setting)


def standing_still(stage: StageConfig, trained: tuple[str, ...]) -> frozenset[str]:
    """The modalities of which the stage trains neither encoder nor adapter; none where it trains nothing."""
    learning = {name for name in stage.modalities if {f"{name}.encoder", f"{name}.adapter"} & set(trained)}
    return frozenset(stage.modalities) - learning if trained else frozenset()


def unchanging(stage: StageConfig, trained: tuple[str, ...], setting: Setting) -> frozenset[str]:
    """Those of them about whose input in training nothing is drawn anew each epoch."""
    inputs = setting.dataset.inputs
    changing = {name for name in stage.modalities if inputs[name].augment or inputs[name].corrupt}
    changing |= set(setting.dataset.candidate_modalities)  # of which training sees all, and a pass over them the first
    return standing_still(stage, trained) - changing if stage.training.mixup == 0 else frozenset()


def of_finished(model: Classifier | Retrieval, setting: Setting) -> KnownFeatures:
    """All features of a model that stands still; nothing where the modalities meet inside, and of drawn clips."""
    names = frozenset(model.modalities) - seen(model) if _is_kept(model, setting) else frozenset[str]()
    return KnownFeatures(model, dict.fromkeys(SPLITS, names), setting)


def seen(model: Classifier | Retrieval) -> frozenset[str]:
    """The modalities whose inputs the model must see, as adapters of keys in their encoders need them."""
    if isinstance(model, Classifier):
        return frozenset()
    routed = {name for name in model.modalities if set(Bank(model.encoders[name]).keys()) & set(model.routes)}
    return frozenset((*model.adapted, *routed))


def _is_kept(model: Classifier | Retrieval, setting: Setting) -> bool:
    return not model.mixes and not isinstance(setting.dataset, ClipDataset)


def features_digest(model: Classifier | Retrieval, name: str) -> str:
    """A digest of what a modality's features come from: its encoder, all of the model where modalities meet inside.

    It takes in the tensors, and the scales of the adapters that act.
    """
    inside = model if model.mixes else model.encoders[name]
    bank = Bank(inside)
    active = bank.active_key
    scales = {} if active is None else {layer: adapter.scale for layer, adapter in bank.adapters(active).items()}
    return json_digest([tensors_digest(dict(inside.state_dict())), active, scales])


def places(loader: BatchLoader, num_rows: int) -> Tensor:
    """Row of the data set -> its position in the loader's order; -1 for rows that it leaves out."""
    found = torch.full((num_rows,), -1)
    found[torch.from_numpy(loader.rows)] = torch.arange(len(loader.rows))
    return found


def autocast(setting: Setting) -> torch.autocast:
    """bfloat16 where the runtime asks for it, else nothing."""
    kind = torch.device(setting.device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=setting.runtime.dtype == "bfloat16")
