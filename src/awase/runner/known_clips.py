"""Features of clips of a store that need not be computed again, in this run or another: kept in the cache's `clips`."""

import logging
from typing import cast

import numpy as np
import torch
from torch import Tensor

from awase.config import StageConfig
from awase.data.features import ClipDataset
from awase.data.features.row_file import RowFile
from awase.digest import json_digest
from awase.fusion.rows import put, rows_with
from awase.models import Retrieval
from awase.runner.known import EVALUATION_BATCH, autocast, features_digest, seen, unchanging
from awase.runner.setting import Setting
from awase.types import Batch, Encoded, map_inputs

log = logging.getLogger(__name__)
FORMAT_VERSION = 1


class KnownClips:
    """The pooled features of some modalities of a store's clips; a clip is encoded when it is first met.

    A clip follows from the caption that it grows from, so its features have a row of that number, float32, in a file
    of their own for every encoder (weights and adapters), store, way of making the input, dtype, device kind, number of
    threads and version of torch. Clips are encoded `EVALUATION_BATCH` at a time, the last one again to fill up, and so
    get the same bits in whatever batch they are met, where the encoder gives a row of a batch of one size the same bits
    whatever is beside it (DAVEnet does). A batch of another size may round otherwise, as everywhere. The encoders must
    not change while this object lives.
    """

    def __init__(self, model: Retrieval, names: frozenset[str], setting: Setting) -> None:
        assert isinstance(setting.dataset, ClipDataset), "its rows are clips"
        self.model, self.setting, self.clips = model, setting, setting.dataset.clips
        self.names = {"train": names, "val": names}
        self._files: dict[str, RowFile] = {}

    def missing(self, split: str) -> tuple[str, ...]:
        """The modalities whose inputs a batch must have; those of the others are read where they are needed."""
        return tuple(name for name in self.model.modalities if name not in self.names[split])

    def of(self, batch: Batch, split: str) -> dict[str, Encoded]:
        """The features of a batch of a split; zeros for clips without the modality."""
        return {name: Encoded(self._features(name, batch)) for name in sorted(self.names[split])}

    def _features(self, name: str, batch: Batch) -> Tensor:
        assert batch.clips is not None, "only train and val are asked for, which are of the store"
        rows = rows_with(batch, name)
        captions = batch.clips if rows is None else batch.clips[rows.cpu()]
        found = torch.from_numpy(self._rows(name, captions.numpy())).to(self.setting.device)
        return put(found, rows, len(batch))

    def _rows(self, name: str, captions: np.ndarray) -> np.ndarray:
        """(captions, dim), from the file or made now and put there."""
        file = self._file(name)
        rows, known = file.read(captions)
        if not known.all():
            new, places = np.unique(captions[~known], return_inverse=True)
            made = self._encoded(name, new)
            file.write(new, made)
            rows[~known] = made[places]
        return rows

    @torch.no_grad()
    def _encoded(self, name: str, captions: np.ndarray) -> np.ndarray:
        encoder, device, made = self.model.encoders[name].eval(), self.setting.device, []
        for start in range(0, len(captions), EVALUATION_BATCH):
            some = captions[start : start + EVALUATION_BATCH]
            inputs = self.clips.inputs(name, np.pad(some, (0, EVALUATION_BATCH - len(some)), mode="edge"))
            with autocast(self.setting):
                pooled = encoder(map_inputs(inputs, lambda value: value.to(device))).pooled
            made.append(pooled[: len(some)].float())
        values: np.ndarray = torch.cat(made).cpu().numpy()
        return values

    def _file(self, name: str) -> RowFile:
        if name not in self._files:
            setting, encoder = self.setting, self.model.encoders[name]
            source = [*self.clips.input_source(name), features_digest(self.model, name), EVALUATION_BATCH]
            how = [setting.runtime.dtype, torch.device(setting.device).type, torch.get_num_threads(), torch.__version__]
            path = setting.runtime.cache / "clips" / f"{json_digest([FORMAT_VERSION, source, how])}.rows"
            limit = int(setting.runtime.clip_cache_gib * 2**30)
            self._files[name] = RowFile(path, self.clips.store.num_captions, cast(int, encoder.dim), limit)
            log.info("features of %s are kept in %s", name, path)
        return self._files[name]


def clips_of_stage(model: Retrieval, stage: StageConfig, trained: tuple[str, ...], setting: Setting) -> KnownClips:
    """What a stage on a store need not compute again: the modalities of which it trains neither encoder nor adapter.

    Not of encoders without parameters, which cost nothing, nor of modalities about whose input anything is drawn anew
    or that have several candidates per clip; nothing where the runtime keeps none.
    """
    several = setting.dataset.candidate_modalities
    names = frozenset(
        name
        for name in unchanging(stage, trained, setting)
        if name not in several and name not in seen(model) and any(True for _ in model.encoders[name].parameters())
    )
    return KnownClips(model, names if setting.runtime.clip_cache_gib > 0 else frozenset(), setting)
