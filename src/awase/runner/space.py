"""A trained joint space in Python: load it, embed a table or rows of one's own, compare."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from awase.config import TextInput
from awase.data import Dataset
from awase.data.unlabelled import SPLIT
from awase.evaluation import Embedded, embed
from awase.models import Retrieval
from awase.runner.loaded import cell
from awase.runner.new_rows import open_new_rows
from awase.runner.restored import open_model, save_model
from awase.runner.saved import OwnEncoders
from awase.runner.setting import resolve_device
from awase.runner.space_scores import uses_cosine
from awase.runner.spec import SavedModel

BATCH_SIZE = 32


class Space:
    """A joint space with its preprocessing."""

    def __init__(self, saved: SavedModel, model: Retrieval, device: str, cache: Path) -> None:
        self.saved = saved
        self.model = model.to(device).eval()
        self.device = device
        self.cache = cache

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the space holds."""
        return self.saved.stage.modalities

    @property
    def cosine(self) -> bool:
        """Whether scores are cosines; else raw dot products."""
        assert self.saved.stage.retrieval is not None, "the stage has a joint space"
        return uses_cosine(self.saved.stage.retrieval)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        device: str = "auto",
        cache: Path | None = None,
        encoders: OwnEncoders | None = None,
    ) -> "Space":
        """The space in a run's folder, a folder that was saved, or a repository on the Hub; raises as `Model` does."""
        saved, model, place = open_model(source, cache=cache, encoders=encoders)
        if not isinstance(model, Retrieval):
            raise ValueError(f"{source} decides between classes and is no joint space; load it with awase.Model.")
        return cls(saved, model, resolve_device(device), place)

    def embed(self, rows: Path | str | Iterable[Mapping[str, Any]]) -> Embedded:
        """The embeddings of a table, or of dictionaries of column -> path, text or numbers; see `Model.predict`.

        A modality may be missing from some rows or altogether; rows that have none are left out.
        """
        if isinstance(rows, Path | str):
            return self._embed_table(Path(rows))
        texts = {setting.column for setting in self.saved.spec.inputs.values() if isinstance(setting, TextInput)}
        lines = [json.dumps({key: cell(value, key in texts) for key, value in row.items()}) for row in rows]
        if not lines:
            raise ValueError("There are no rows to embed; give at least one dictionary.")
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "rows.jsonl"
            table.write_text("\n".join(lines) + "\n", encoding="utf-8")
            return self._embed_table(table)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the weights (safetensors), the configuration and a model card."""
        save_model(Path(folder), self.saved, self.model)

    def _embed_table(self, table: Path) -> Embedded:
        return self.embed_dataset(open_new_rows(self.saved.spec, self.modalities, table, cache=self.cache))

    def embed_dataset(self, dataset: Dataset) -> Embedded:
        """The embeddings of new rows that are open already; raises `ValueError` where none has a modality."""
        loader = dataset.loader(SPLIT, batch_size=BATCH_SIZE)
        return embed(self.model, loader.epoch(0), self.device)
