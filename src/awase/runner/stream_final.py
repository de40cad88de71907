"""The scores of every data set of a stream after every stage, measured once, after the last one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from awase.data import Dataset
from awase.evaluation import Outputs, score
from awase.evaluation.classification import as_array
from awase.models import Classifier
from awase.records import StreamKind, StreamNumber, StreamRecord
from awase.runner.nodes import NodeRunner, StageResult
from awase.runner.stream_work import classes_of
from awase.runner.work import look
from awase.statistics import StreamHits, correct, join_hits


@dataclass(frozen=True)
class Seen:
    """What the model of one stage said about some rows of one data set."""

    stage: str
    split: str
    data_set: str
    outputs: Outputs
    rows: Bool[np.ndarray, " samples"]
    known: bool
    right: Bool[np.ndarray, " rows"]


def score_stream(runner: NodeRunner, last: StageResult) -> tuple[StreamRecord, StreamHits] | None:
    """R[stage, data set] of every stage of a stream (of another method: its last one) and which test rows were right.

    Validation and test are looked at. None where the data is no stream, or has several labels per row.
    """
    dataset = runner.setting.dataset
    if not isinstance(dataset, Dataset) or dataset.stream is None or dataset.task != "single_label":
        return None
    stages, names = stages_of_stream(runner, last), dataset.stream.names
    seen = [one for result in stages for split in ("val", "test") for one in _seen(runner, result, stages, split)]
    classes = {name: tuple(dataset.classes[k] for k in classes_of(dataset, (name,))) for name in names}
    numbers = tuple(
        StreamNumber(
            stage=one.stage,
            split=one.split,
            data_set=one.data_set,
            known=one.known,
            accuracy=float(one.right.mean()),
            count=len(one.right),
        )
        for one in seen
    )
    record = StreamRecord(
        data_sets=names, classes=classes, trained=_trained(stages, names), kind=kind_of(stages), numbers=numbers
    )
    return record, join_hits([_hits(one, dataset) for one in seen if one.split == "test"])


def stages_of_stream(runner: NodeRunner, last: StageResult) -> list[StageResult]:
    """The stages that each learned from one data set, in order; of a method that has none, its last stage."""
    return [result for result in runner.stages.values() if result.stage.stream is not None] or [last]


def kind_of(stages: Sequence[StageResult]) -> StreamKind:
    """Whether there is one stage on all rows, a model that goes from data set to data set, or one model for each."""
    if stages[-1].stage.stream is None:
        return "joint"
    return "alone" if len(stages) > 1 and not any(result.stage.start for result in stages) else "sequence"


def validation_mean(runner: NodeRunner, last: StageResult, metric: str) -> float | None:
    """The mean over the data sets of the metric on validation after the last stage; None where that is of no stream.

    Choosing by the last data set alone would choose what forgets most. Of models of one data set each, every one's own.
    """
    setting = runner.setting
    if last.stage.stream is None or not isinstance(setting.dataset, Dataset) or setting.dataset.stream is None:
        return None
    stages = stages_of_stream(runner, last)
    if kind_of(stages) == "alone":
        return float(np.mean([result.facts["val"][metric] for result in stages]))
    outputs = look(runner.model(last), "val", setting)
    assert outputs.targets is not None, "an experiment's rows have labels"
    stream, index = setting.dataset.stream, as_array(outputs.index)
    values = []
    for place in range(len(stream.names)):
        rows = stream.of_row[index] == place
        values.append(score(outputs.logits[rows], outputs.targets[rows], setting.label_task)[metric])
    return float(np.mean(values))


def _trained(stages: Sequence[StageResult], names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Stage -> the data sets whose rows its model has learned from."""
    found: dict[str, tuple[str, ...]] = {}
    for result in stages:
        stream = result.stage.stream
        before = tuple(name for start in result.stage.start for name in found.get(start, ()))
        found[result.stage.name] = names if stream is None else (*before, *stream.data_sets)
    return found


def _seen(runner: NodeRunner, result: StageResult, stages: Sequence[StageResult], split: str) -> Iterator[Seen]:
    setting, name = runner.setting, result.stage.name
    dataset = setting.dataset
    assert isinstance(dataset, Dataset), "a stream is a table"
    assert dataset.stream is not None, "the data is a stream"
    model = runner.model(result)
    outputs = look(model, split, setting)
    assert outputs.targets is not None, "an experiment's rows have labels"
    index, logits, targets = as_array(outputs.index), as_array(outputs.logits), as_array(outputs.targets)
    for place, data_set in enumerate(dataset.stream.names):
        rows = dataset.stream.of_row[index] == place
        if not rows.any() or not answers(model, data_set, stages):
            continue
        if not model.routes:
            yield Seen(name, split, data_set, outputs, rows, False, correct(logits[rows], targets[rows]))
        allowed = among(logits[rows], classes_of(dataset, (data_set,)))
        yield Seen(name, split, data_set, outputs, rows, True, correct(allowed, targets[rows]))


def answers(model: Classifier, data_set: str, stages: Sequence[StageResult]) -> bool:
    """Whether a model has something to say about a data set: a bank over untrained heads has not before its turn."""
    first = stages[0].stage.stream
    return not model.routes or data_set in model.routes or (first is not None and not first.keys)


def among(logits: Float[np.ndarray, "rows classes"], classes: np.ndarray) -> Float[np.ndarray, "rows classes"]:
    """The logits with those of all other classes at minus infinity."""
    found = np.full_like(logits, -np.inf)
    found[:, classes] = logits[:, classes]
    return found


def _hits(one: Seen, dataset: Dataset) -> StreamHits:
    places = np.flatnonzero(one.rows)
    index = as_array(one.outputs.index)[places]
    size = len(places)
    return StreamHits(
        tuple(one.outputs.ids[place] for place in places),
        (one.stage,) * size,
        (one.data_set,) * size,
        np.full(size, one.known),
        one.right,
        None if dataset.groups is None else tuple(dataset.groups[row] for row in index),
    )
