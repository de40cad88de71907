"""Features that a stage need not compute again: of frozen encoders whose inputs do not change."""

import torch
from torch import Tensor

from awase.config import StageConfig
from awase.data.features import ClipDataset
from awase.fusion.rows import encode_rows
from awase.models import Classifier, Retrieval
from awase.runner.setting import Setting
from awase.types import Batch, Encoded, Loader

EVALUATION_BATCH = 64


class KnownFeatures:
    """The pooled features of the modalities that a stage leaves as they are, each sample encoded once.

    In validation and test: of every modality of which the stage trains neither encoder nor adapter. In training only
    where nothing about its input is drawn anew each epoch (augmentation, corruption, mixup). Nothing where the
    modalities meet inside the encoders, and where teachers must see the inputs. A feature is what the encoder gives in
    evaluation mode in batches of validation's size; it is kept in memory. Nothing of clips that are drawn from whole
    videos, since no two epochs have the same ones.
    """

    def __init__(
        self, model: Classifier | Retrieval, stage: StageConfig, trained: tuple[str, ...], setting: Setting
    ) -> None:
        self.model, self.stage, self.setting = model, stage, setting
        frozen = {
            name
            for name in stage.modalities
            if not {f"{name}.encoder", f"{name}.adapter"} & set(trained) and trained and not model.mixes
        }
        if isinstance(setting.dataset, ClipDataset):
            frozen = set()
        inputs = setting.dataset.inputs
        changing = {name for name in frozen if inputs[name].augment or inputs[name].corrupt}
        constant = set() if stage.training.mixup > 0 or stage.teachers else frozen - changing
        self.names = {"train": constant, "val": frozen, "test": frozen}
        self._tables: dict[tuple[str, str], Tensor] = {}

    def missing(self, split: str) -> tuple[str, ...]:
        """The modalities whose inputs are still needed."""
        return tuple(name for name in self.stage.modalities if name not in self.names[split])

    def of(self, batch: Batch, split: str) -> dict[str, Encoded]:
        """The known features of a batch of a split."""
        return {name: Encoded(self._table(split, name)[batch.index]) for name in sorted(self.names[split])}

    def train_loader(self) -> Loader:
        """Augmented, shuffled training batches for this process, without the inputs that are not needed."""
        training, setting = self.stage.training, self.setting
        return setting.dataset.loader(
            "train",
            batch_size=training.batch_size,
            modalities=self.stage.modalities,
            inputs=self.missing("train"),
            seed=setting.seed,
            train=True,
            mixup=training.mixup,
            workers=setting.runtime.workers,
            rank=setting.world.rank,
            world_size=setting.world.size,
        )

    def _table(self, split: str, name: str) -> Tensor:
        """(rows of the data set, dim); zeros where the split or the modality has none."""
        if (split, name) not in self._tables:
            self._tables[split, name] = self._encoded(split, name)
        return self._tables[split, name]

    @torch.no_grad()
    def _encoded(self, split: str, name: str) -> Tensor:
        setting, encoder = self.setting, self.model.encoders[name].eval()
        # The modalities of the whole stage, so that batches hold the same rows as in a pass over all of them.
        loader = setting.dataset.loader(
            split,
            batch_size=EVALUATION_BATCH,
            modalities=self.stage.modalities,
            inputs=(name,),
            workers=setting.runtime.workers,
        )
        table: Tensor | None = None
        for batch in loader.epoch(0):
            seen = batch.to(setting.device)
            rows = None if name in seen.complete else seen.present[name]
            with autocast(setting):
                pooled = encode_rows(encoder, seen.inputs[name], rows).pooled
            if table is None:
                table = pooled.new_zeros(len(setting.dataset.ids), pooled.shape[1])
            table[seen.index] = pooled
        assert table is not None, "no split is empty"
        return table


def autocast(setting: Setting) -> torch.autocast:
    """bfloat16 where the runtime asks for it, else nothing."""
    kind = torch.device(setting.device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=setting.runtime.dtype == "bfloat16")
