"""`predictions.parquet`: what a run said about every sample, by id, so that later comparisons can be paired."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Shaped

from awase.files import whole_file
from awase.statistics.versioned_table import read_versioned

PREDICTIONS_NAME = "predictions.parquet"
FORMAT_VERSION = 1
_VERSION_KEY = b"awase.predictions"
_LOGITS = "logits_"


@dataclass(frozen=True)
class Predictions:
    """One row per sample. `targets` and `predicted` are class indices, or 0 and 1 per class with several labels.

    Rows of `modality_logits[m]` of samples without modality `m` are NaN. `groups` are what is drawn together in
    intervals (speaker, source video).
    """

    ids: tuple[str, ...]
    splits: tuple[str, ...]
    targets: Shaped[np.ndarray, "samples *classes"]
    predicted: Shaped[np.ndarray, "samples *classes"]
    logits: Float[np.ndarray, "samples classes_"]
    modality_logits: dict[str, Float[np.ndarray, "samples classes_"]] = field(default_factory=dict)
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        sizes = {len(part) for part in (self.splits, self.targets, self.predicted, self.logits)}
        sizes |= {len(part) for part in self.modality_logits.values()}
        if sizes | ({len(self.groups)} if self.groups is not None else set()) != {len(self.ids)}:
            raise ValueError(f"Predictions of {len(self.ids)} samples need as many rows in every part; given {sizes}.")
        if self.targets.ndim not in (1, 2):
            raise ValueError(f"Targets are (samples,) or (samples, classes); given: {self.targets.shape}.")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> "Predictions":
        """The given rows, in the given order."""
        index = np.asarray(rows, dtype=np.int64)
        return Predictions(
            tuple(self.ids[i] for i in index),
            tuple(self.splits[i] for i in index),
            self.targets[index],
            self.predicted[index],
            self.logits[index],
            {name: value[index] for name, value in self.modality_logits.items()},
            None if self.groups is None else tuple(self.groups[i] for i in index),
        )

    def of_split(self, split: str) -> "Predictions":
        """The rows of one split."""
        return self.take([row for row, name in enumerate(self.splits) if name == split])


def write_predictions(path: Path, predictions: Predictions, classes: Sequence[str] = ()) -> None:
    """Writes `predictions` to `path`, whole or not at all.

    With the names of the `classes`, a column `label` holds the name of the predicted class, or a list of names.
    """
    table = _to_table(predictions)
    if classes:
        table = table.append_column("label", pa.array(_names(predictions.predicted, classes)))
    with whole_file(path) as temporary:
        pq.write_table(table, temporary)


def read_predictions(path: Path) -> Predictions:
    """The predictions in `path`, a file or a run's folder.

    Raises `FileNotFoundError` where there are none, `ValueError` for another format.
    """
    table = read_versioned(path, PREDICTIONS_NAME, _VERSION_KEY, FORMAT_VERSION, owner="the folder of a finished run")
    return _from_table(table)


def align(parts: Sequence[Predictions]) -> tuple[list[Predictions], int]:
    """Returns the parts restricted to the ids they all have, in the order of the first, and how many ids were left out.

    Raises `ValueError` where they have no id in common or disagree about a target.
    """
    shared = set(parts[0].ids).intersection(*(part.ids for part in parts[1:]))
    if not shared:
        raise ValueError("The runs have no test sample in common, so they cannot be compared by sample.")
    order = [name for name in parts[0].ids if name in shared]
    aligned = [_by_id(part, order) for part in parts]
    if any(not np.array_equal(part.targets, aligned[0].targets) for part in aligned):
        raise ValueError("The runs disagree about the labels of their samples: they were made from different data.")
    return aligned, len(set().union(*(part.ids for part in parts))) - len(order)


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """The rows of all parts one after another (the folds of one seed); raises `ValueError` if an id comes twice.

    Logits per modality are kept where every part has them, groups likewise.
    """
    ids = tuple(name for part in parts for name in part.ids)
    if len(set(ids)) != len(ids):
        raise ValueError("A sample is in the test split of two folds; folds must not overlap.")
    names = set(parts[0].modality_logits).intersection(*(part.modality_logits for part in parts))
    groups = [part.groups for part in parts if part.groups is not None]
    return Predictions(
        ids,
        tuple(name for part in parts for name in part.splits),
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.predicted for part in parts]),
        np.concatenate([part.logits for part in parts]),
        {name: np.concatenate([part.modality_logits[name] for part in parts]) for name in sorted(names)},
        tuple(name for part in groups for name in part) if len(groups) == len(parts) else None,
    )


def _by_id(part: Predictions, order: list[str]) -> Predictions:
    rows = {name: row for row, name in enumerate(part.ids)}
    if len(rows) != len(part):
        raise ValueError("A sample id comes twice in one run's predictions; ids must be unique to pair by them.")
    return part.take([rows[name] for name in order])


def _to_table(predictions: Predictions) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "id": pa.array(predictions.ids, pa.string()),
        "split": pa.array(predictions.splits, pa.string()),
        "target": _labels(predictions.targets),
        "predicted": _labels(predictions.predicted),
        "logits": _float_lists(predictions.logits),
    }
    columns |= {_LOGITS + name: _float_lists(value) for name, value in predictions.modality_logits.items()}
    if predictions.groups is not None:
        columns["group"] = pa.array(predictions.groups, pa.string())
    return pa.table(columns).replace_schema_metadata({_VERSION_KEY: str(FORMAT_VERSION)})


def _from_table(table: pa.Table) -> Predictions:
    logits = _matrix(table["logits"], 0)
    width = logits.shape[1]
    modalities = [name for name in table.column_names if name.startswith(_LOGITS)]
    return Predictions(
        tuple(table["id"].to_pylist()),
        tuple(table["split"].to_pylist()),
        _label_array(table["target"]),
        _label_array(table["predicted"]),
        logits,
        {name.removeprefix(_LOGITS): _matrix(table[name], width) for name in modalities},
        tuple(table["group"].to_pylist()) if "group" in table.column_names else None,
    )


def _names(predicted: Shaped[np.ndarray, "samples *classes"], classes: Sequence[str]) -> list[str] | list[list[str]]:
    if predicted.ndim == 1:
        return [classes[index] for index in predicted.tolist()]
    return [[name for name, flag in zip(classes, row, strict=True) if flag] for row in predicted.tolist()]


def _labels(values: Shaped[np.ndarray, "samples *classes"]) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values.astype(np.int64))
    return pa.array(list(values.astype(np.int8)), pa.list_(pa.int8()))


def _label_array(column: pa.ChunkedArray) -> Shaped[np.ndarray, "samples *classes"]:
    return np.array(column.to_pylist(), dtype=np.int8 if pa.types.is_list(column.type) else np.int64)


def _float_lists(values: Float[np.ndarray, "samples classes"]) -> pa.Array:
    """A list per row, null where the whole row is NaN: the sample lacks that modality."""
    rows = [None if np.isnan(row).all() else row for row in values.astype(np.float32)]
    return pa.array(rows, pa.list_(pa.float32()))


def _matrix(column: pa.ChunkedArray, width: int) -> Float[np.ndarray, "samples classes"]:
    rows = column.to_pylist()
    width = width or max((len(row) for row in rows if row is not None), default=0)
    return np.array([row if row is not None else [np.nan] * width for row in rows], np.float32).reshape(-1, width)
