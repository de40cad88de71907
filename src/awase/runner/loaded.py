"""A trained model in Python: load it, predict with modalities missing, save it and share it as on the Hub."""

import json
import logging
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from awase.config import TextInput
from awase.data import Dataset
from awase.data.labels import LabelTask
from awase.data.unlabelled import SPLIT
from awase.evaluation import Outputs, collect, join_outputs, to_predictions
from awase.models import Classifier
from awase.runner.new_rows import open_new_rows
from awase.runner.restored import open_model, save_model
from awase.runner.saved import OwnEncoders
from awase.runner.setting import resolve_device
from awase.runner.spec import SavedModel
from awase.statistics import Predictions

BATCH_SIZE = 32
log = logging.getLogger(__name__)


class Model:
    """A classifier with its preprocessing and the names of its classes."""

    def __init__(self, saved: SavedModel, classifier: Classifier, device: str, cache: Path) -> None:
        self.saved = saved
        self.classifier = classifier.to(device).eval()
        self.device = device
        self.cache = cache

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""
        return self.saved.spec.classes

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities the model can use; any of them may be missing."""
        return self.saved.stage.modalities

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        device: str = "auto",
        cache: Path | None = None,
        encoders: OwnEncoders | None = None,
    ) -> "Model":
        """The model in a run's folder, a folder that `save_pretrained` wrote, or a repository on the Hub.

        `encoders` are encoders of somebody's own, by modality; without them those of a local folder are loaded from
        the Python file they came from. Raises `FileNotFoundError` where there is no model, `ValueError` for another
        format version and for weights that do not fit. Pickled weights, which can run code, are never read.
        """
        saved, model, place = open_model(source, cache=cache, encoders=encoders)
        if not isinstance(model, Classifier):
            raise ValueError(
                f"{source} is a joint space, which decides between no classes; in Python load it with awase.Space, and "
                "see what it retrieves with `awase report` and `awase evaluate`."
            )
        return cls(saved, model, resolve_device(device), place)

    def predict(self, rows: Path | str | Iterable[Mapping[str, Any]]) -> Predictions:
        """The logits and decisions for a table, or for dictionaries of column -> path, text or numbers.

        A modality may be missing from some rows or altogether; rows that have none are left out (a warning in the
        log counts them). Paths in dictionaries are relative to the working directory. Raises `ValueError` where no
        row has any modality.
        """
        if isinstance(rows, Path | str):
            return self._predict_table(Path(rows))
        texts = {setting.column for setting in self.saved.spec.inputs.values() if isinstance(setting, TextInput)}
        lines = [json.dumps({key: cell(value, key in texts) for key, value in row.items()}) for row in rows]
        if not lines:
            raise ValueError("There are no rows to predict; give at least one dictionary.")
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "rows.jsonl"
            table.write_text("\n".join(lines) + "\n", encoding="utf-8")
            return self._predict_table(table)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the weights (safetensors), the configuration and a model card."""
        save_model(Path(folder), self.saved, self.classifier)

    def push_to_hub(self, repo_id: str, *, private: bool = True) -> str:
        """Uploads what `save_pretrained` writes; returns the address. Needs a token of the Hub."""
        from huggingface_hub import HfApi

        api = HfApi()
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.create_repo(repo_id, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder))

    def _predict_table(self, table: Path) -> Predictions:
        return predict_dataset(self, open_new_rows(self.saved.spec, self.modalities, table, cache=self.cache))


def predict_dataset(model: Model, dataset: Dataset) -> Predictions:
    """What the model says about every row that has a modality; the others are counted in the log."""
    excluded = dataset.summary["excluded"]["count"]
    if excluded:
        log.warning(
            "%d of %d rows have no modality that can be read and are left out", excluded, dataset.summary["rows"]
        )
    outputs = _answered(model, dataset) if model.classifier.routes else _outputs(model, dataset)
    task: LabelTask = "multi_label" if model.saved.spec.multi_label else "single_label"
    unlabelled = type(outputs)(**{**vars(outputs), "targets": None})
    return to_predictions(unlabelled, SPLIT, task, threshold=model.saved.threshold)


def _outputs(model: Model, dataset: Dataset) -> Outputs:
    loader = dataset.loader(SPLIT, batch_size=BATCH_SIZE)
    return collect(model.classifier, loader.epoch(0), model.device, features=False)


def _answered(model: Model, dataset: Dataset) -> Outputs:
    """Of a bank: every row by the adapters and heads of its data set; the rows of one after those of another."""
    spec, classifier, named = model.saved.spec, model.classifier, dataset.rows.data_sets
    if named is None:
        column = (
            f"the column {spec.stream_column!r}" if spec.stream_column else "a column data.stream.column in training"
        )
        raise ValueError(
            f"This model is a bank that answers every row by what was learned of its data set; to say which, it needs "
            f"{column}, with one of {', '.join(spec.data_sets)}."
        )
    rows = dataset.splits[SPLIT]
    there = dict.fromkeys(named[row] for row in rows.tolist())
    unknown = [name for name in there if name not in spec.data_sets]
    if unknown:
        raise ValueError(f"The model knows no data set {', '.join(unknown)}; it knows {', '.join(spec.data_sets)}.")
    parts = []
    for name in there:
        classifier.route(name if name in classifier.routes else None)
        own = rows[[named[row] == name for row in rows.tolist()]]
        parts.append(_outputs(model, replace(dataset, splits={SPLIT: own})))
    return join_outputs(parts)


def load_model(
    source: str | Path, *, device: str = "auto", cache: Path | None = None, encoders: OwnEncoders | None = None
) -> Model:
    """`Model.from_pretrained` under the name people look for."""
    return Model.from_pretrained(source, device=device, cache=cache, encoders=encoders)


def cell(value: Any, is_text: bool) -> Any:
    """A value of a dictionary as JSON has it; a path, or the name of a file, is made absolute."""
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return value.tolist()
    if isinstance(value, Path):
        return str(value.absolute())
    is_name = isinstance(value, str) and not is_text and 0 < len(value) < 1024 and "\n" not in value
    return str(Path(value).absolute()) if is_name and Path(value).is_file() else value
