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

    In retrieval it is a direction (`text->video`), or `full` for the mean over the directed pairs.
    `modality:m` is the accuracy of m's logits inside the joint model; `only:m` feeds the model m alone.
    Fractions are in [0, 1].
    """

    split: str
    """`train`, `val`, `test`, or the name of an evaluation set."""
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
    metrics: dict[str, float] = {}
    """Every metric of validation, by name."""
    gradient_norms: dict[str, float] = {}
    """Modality -> the mean over steps of the norm of its encoder's gradient (adapters included), as applied."""
    target_scores: dict[str, float] = {}
    """Modality -> the mean probability that its own logits give the target, over training samples that have it."""


class SpaceNumber(_Entry):
    """What a joint space retrieves in one direction on one split after one stage, and how it was counted."""

    stage: str
    split: str
    direction: str
    """`text->audio+video`: texts ask, clips are scored with the sum of audio and video."""
    trained: bool
    """Whether every pair in it was drawn together by this stage or one that it began from."""
    under: str | None = None
    """The combination under whose adapters it is asked: the task is known beforehand. None: the shared space."""
    metrics: dict[str, float]
    metrics_same: dict[str, float] = {}
    """The same where every item with the same text is right; empty where that changes nothing."""
    protocol: dict[str, Any]
    """The fields of `statistics.RetrievalProtocol`: queries, gallery, what is missing, score, ties, post-processing."""


class BankNumber(_Entry):
    """One direction of one split after the last stage, under query-bank normalisation.

    Inductive: the bank and beta are of another split, so a query's score does not depend on the queries of its own.
    Nothing is chosen by it.
    """

    stage: str
    split: str
    direction: str
    metrics: dict[str, float]
    bank: str
    """The split whose queries are the bank, and on which beta was chosen."""
    bank_queries: int
    beta: float
    protocol: dict[str, Any]
    """That of the raw number, but for the post-processing."""


class RetrievalRecord(_Entry):
    """The retrieval numbers of a run. A tie counts against the query."""

    score: Literal["dot", "cosine"]
    pairs: dict[str, tuple[str, ...]]
    """Stage -> the pairs it drew together."""
    numbers: tuple[SpaceNumber, ...]
    """Raw: without post-processing."""
    agnostic: tuple[SpaceNumber, ...] = ()
    """Of the numbers under adapters the same in the shared space of the same stage: whatever is asked."""
    query_bank: tuple[BankNumber, ...] = ()
    geometry: dict[str, dict[str, dict[str, float]]] = {}
    """Stage -> split -> name (`modality gap audio+text`, ...) -> value."""


StreamKind = Literal["joint", "sequence", "alone"]


class StreamNumber(_Entry):
    """The accuracy on one data set of a stream on one split after one stage.

    `known` (task-aware): the data set of every row is known, so that only its classes compete, and of a bank its own
    adapters and heads answer. Else (task-agnostic) all classes compete. The two share no column.
    """

    stage: str
    split: str
    data_set: str
    known: bool
    accuracy: float
    count: int


class StreamRecord(_Entry):
    """What a run on a stream of data sets knew of each of them after every stage."""

    data_sets: tuple[str, ...]
    """In the order in which they come."""
    classes: dict[str, tuple[str, ...]]
    """Data set -> the classes of its training rows."""
    trained: dict[str, tuple[str, ...]]
    """Stage, in order -> the data sets that it, or a stage that it began from, has learned from."""
    kind: StreamKind
    """One stage on all rows; a model that goes from data set to data set; or a model for each."""
    numbers: tuple[StreamNumber, ...]


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
    retrieval: RetrievalRecord | None = None
    """Of a run whose task is retrieval."""
    stream: StreamRecord | None = None
    """Of a run on a stream of data sets with one label per row."""
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


# ---- a diagnosis, which lies beside the record ----------------------------------------------------------------------


class Estimate(_Entry):
    """A number from samples with its 95 % interval; of accuracies and F1 in [0, 1], of losses in nats."""

    value: float
    low: float
    high: float
    count: int
    """Samples it was taken from."""


class ModalityEvidence(_Entry):
    """What was measured about one modality, on the samples that have it; differences are paired by sample.

    None where it was not measured: there is no stage of this modality alone, or there are no other modalities.
    """

    own: Estimate
    """Its own accuracy: of the stage that trained it alone, or of the joint model given nothing else."""
    own_from: Literal["stage", "store", "only"]
    """A stage of this run; one that another run with these settings trained; or no stage: the model given it alone."""
    own_still_improving: bool
    """Whether the stage that trained it alone was still improving at its last epoch."""
    inside: Estimate
    """Of its own logits inside the joint model; where the fusion has none, the same as `only`."""
    only: Estimate
    """Of the joint model given this modality alone."""
    probe: Estimate
    """Of a linear classifier on its features in the joint model."""
    own_probe: Estimate | None
    """Of a linear classifier on its features in the stage that trained it alone."""
    own_above_chance: Estimate
    """`own` minus the constant prediction."""
    probe_above_chance: Estimate
    """`probe` minus the constant prediction."""
    probe_change: Estimate | None
    """`probe` minus `own_probe`: what joint training did to its features."""
    inside_minus_probe: Estimate
    only_minus_probe: Estimate
    only_minus_own: Estimate
    gain: Estimate | None
    """Accuracy of the whole model minus its accuracy without this modality."""
    loss_gain: Estimate | None
    """Loss of the model without this modality minus its loss as a whole."""
    probes_gain: Estimate | None
    """The same gain in a mean of the modalities' linear probes: what there is to gain."""
    shapley: Estimate | None
    shapley_loss: Estimate | None
    """Of the negative loss."""


class BalancePoint(_Entry):
    """One epoch of a stage that trained several modalities: how far each had come."""

    stage: str
    epoch: int
    target_scores: dict[str, float]
    ratios: dict[str, float]
    """Modality -> its target score over the mean of the others' (the discrepancy ratio of OGM-GE with two)."""
    gradient_norms: dict[str, float]


class Finding(_Entry):
    """A statement in plain words, about one modality or about the run, with the numbers behind it and what to try."""

    kind: Literal[
        "harmful",
        "ignored",
        "under_trained",
        "redundant",
        "uninformative",
        "used",
        "at_chance",
        "unfinished",
        "synergy",
        "alone",
    ]
    modality: str | None
    certain: bool = True
    """False: the interval behind the statement is too wide to say more than that it may be so."""
    statement: str
    numbers: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


class Diagnosis(_Entry):
    """What `awase diagnose` found in one run on one split."""

    format_version: int = FORMAT_VERSION
    revision: int
    """Of the way in which the numbers are taken; another one is measured anew."""
    stages: tuple[str, ...]
    """Hashes of the run's stages."""
    experiment: str
    method: str
    seed: int
    fold: int | None
    split: Literal["val", "test"]
    metric: Literal["accuracy", "f1_micro"]
    samples: int
    left_out: int
    """Samples that have no modality at all."""
    fusion: str
    additive: bool
    """Whether the decision is a sum or mean of one term per modality."""
    whole: Estimate
    constant: Estimate
    """Of the best prediction without looking, from the class frequencies of training."""
    above_chance: Estimate
    whole_loss: Estimate
    constant_loss: Estimate
    modalities: dict[str, ModalityEvidence]
    interactions: dict[str, Estimate]
    """`audio+video` -> Shapley interaction index for the metric."""
    balance: tuple[BalancePoint, ...]
    findings: tuple[Finding, ...]
    verdict: str
    notes: tuple[str, ...]
    made: str


class Diagnoses(_Entry):
    """The file `diagnosis.json` of a run's folder: its diagnoses by split."""

    format_version: int = FORMAT_VERSION
    by_split: dict[str, Diagnosis] = {}


DIAGNOSIS_NAME = "diagnosis.json"


def read_diagnoses(folder: Path) -> Diagnoses:
    """The diagnoses in a run's folder, none where there is no file or one of another format version."""
    file = folder / DIAGNOSIS_NAME
    if not file.is_file():
        return Diagnoses()
    text = file.read_text(encoding="utf-8")
    if json.loads(text).get("format_version") != FORMAT_VERSION:
        return Diagnoses()
    return Diagnoses.model_validate_json(text)


def write_diagnosis(folder: Path, diagnosis: Diagnosis) -> Path:
    """Adds a diagnosis to those in a run's folder, in the place of an earlier one of the same split."""
    known = read_diagnoses(folder).by_split
    path = folder / DIAGNOSIS_NAME
    write_text(path, Diagnoses(by_split={**known, diagnosis.split: diagnosis}).model_dump_json(indent=1) + "\n")
    return path
