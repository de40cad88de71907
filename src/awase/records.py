"""What a finished run writes and the report reads. Imports no torch."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from awase.files import write_text

FORMAT_VERSION = 1
RECORD_NAME = "record.json"


class _Entry(BaseModel):
    # A number that is none is written as the text "NaN", which JSON has and which is read back as it was.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Metric(_Entry):
    """One number: `condition` is `full`, `only:audio`, `without:audio`, `missing:0.25` or `modality:audio`.

    `modality:m` is the accuracy of m's logits inside the joint model; `only:m` feeds the model m alone.
    Fractions are in [0, 1].
    """

    split: Literal["train", "val", "test"]
    name: str
    value: float
    condition: str = "full"
    count: int


class Epoch(_Entry):
    """One point of a learning curve."""

    epoch: int
    train_loss: float
    val_loss: float
    val_metric: float
    learning_rate: float
    seconds: float
    gradient_norms: dict[str, float] = {}
    """Modality -> the mean over steps of the norm of its encoder's gradient (adapters included), as applied."""
    target_scores: dict[str, float] = {}
    """Modality -> the mean probability that its own logits give the target, over training samples that have it."""


class StageRecord(_Entry):
    """What became of one stage in this run."""

    name: str
    hash: str
    reused: bool
    trained_parts: tuple[str, ...]
    trainable_parameters: int
    total_parameters: int
    seconds: float
    peak_memory_mib: float
    best_epoch: int | None
    still_improving: bool
    curve: tuple[Epoch, ...]
    guards: dict[str, dict[str, float]]
    """Earlier stage -> {"before": metric, "after": metric} on validation."""
    probes: dict[str, float]
    """Modality -> test accuracy of a linear classifier on its frozen features after this stage."""


class Record(_Entry):
    """Everything about one run of one method with one seed on one fold."""

    format_version: int = FORMAT_VERSION
    status: Literal["done", "failed"]
    experiment: str
    method: str
    dataset: str
    seed: int
    fold: int | None
    selection_metric: str
    metrics: tuple[Metric, ...]
    stages: tuple[StageRecord, ...]
    derived: dict[str, Any]
    settings_tried: int
    chosen: dict[str, Any]
    """The candidate validation chose, and every candidate's validation value under `tried`."""
    trainable_parameters: int
    total_parameters: int
    seconds: float
    peak_memory_mib: float
    published: float | dict[str, float] | None
    """Of the selection metric, or of several metrics by name."""
    published_starred: bool = False
    config: dict[str, Any]
    data: dict[str, Any]
    """Fingerprint, counts per split and class, how validation was made, what was excluded and why."""
    weights: dict[str, dict[str, Any]]
    """Modality -> name of the encoder, its weights and the corpus behind them."""
    classes: tuple[str, ...]
    versions: dict[str, str]
    hardware: dict[str, Any]
    commit: str | None
    dirty: bool | None
    started: str
    finished: str
    test_looks: tuple[dict[str, Any], ...] = ()
    """Later looks at the test split by `evaluate` or `diagnose`."""
    notes: tuple[str, ...] = ()
    """Warnings a reader of the numbers must know."""


def write_record(folder: Path, record: Record) -> Path:
    """Writes `record.json` into `folder`; returns its path."""
    path = folder / RECORD_NAME
    write_text(path, record.model_dump_json(indent=1) + "\n")
    return path


def read_record(path: Path) -> Record:
    """The record in `path`, a file or a run's folder.

    Raises `FileNotFoundError` where there is none, `ValueError` for another format version.
    """
    file = path / RECORD_NAME if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path} holds no {RECORD_NAME}: the folder of a finished run has one.")
    text = file.read_text(encoding="utf-8")
    version = json.loads(text).get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(f"{file} has format version {version}; this awase reads {FORMAT_VERSION}.")
    return Record.model_validate_json(text)


def find_records(folders: list[Path]) -> list[Record]:
    """All records at or below `folders`, in the order of their paths."""
    paths = sorted({path for folder in folders for path in folder.rglob(RECORD_NAME)})
    return [read_record(path) for path in paths]
