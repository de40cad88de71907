"""Outputs of a pass become the numbers of a record and the rows of `predictions.parquet`."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from awase.evaluation.classification import Task, as_array, multilabel_predictions, score
from awase.evaluation.collect import Outputs
from awase.records import Metric
from awase.statistics import Predictions


def measure(
    outputs: Outputs,
    split: Literal["train", "val", "test"],
    task: Task,
    *,
    threshold: float = 0.5,
    condition: str = "full",
) -> tuple[Metric, ...]:
    """Returns the metrics of one pass, each with the number of samples it was taken from.

    Under `full` with several modalities, `modality:m` are the metrics of m's logits inside the joint model, over the
    samples that have m. Raises `ValueError` for outputs without targets.
    """
    if outputs.targets is None:
        raise ValueError("These samples have no labels, so there is nothing to measure; predict them instead.")
    results = [(condition, score(outputs.logits, outputs.targets, task, threshold), len(outputs))]
    inside = outputs.modality_logits if condition == "full" and len(outputs.modality_logits) > 1 else {}
    for name, logits in inside.items():
        rows = outputs.present[name]
        if rows.any():
            values = score(logits[rows], outputs.targets[rows], task, threshold)
            results.append((f"modality:{name}", values, int(rows.sum())))
    return tuple(
        Metric(split=split, name=metric, value=value, condition=where, count=count)
        for where, values, count in results
        for metric, value in values.items()
    )


def to_predictions(
    outputs: Outputs, split: str, task: Task, *, threshold: float = 0.5, groups: Sequence[str] | None = None
) -> Predictions:
    """Returns the outputs as rows to write; `groups` names the group of every row of the data set.

    Logits of a modality that a sample lacks become NaN. Without targets, -1 stands for one label and 0 for several.
    """
    logits = as_array(outputs.logits)
    many = task == "multi_label"
    predicted = multilabel_predictions(logits, threshold) if many else logits.argmax(axis=1)
    unknown = np.zeros_like(predicted) if many else np.full_like(predicted, -1)
    targets = unknown if outputs.targets is None else as_array(outputs.targets)
    parts = {
        name: np.where(as_array(outputs.present[name])[:, None], as_array(value), np.float32(np.nan))
        for name, value in outputs.modality_logits.items()
    }
    names = None if groups is None else tuple(groups[row] for row in outputs.index.tolist())
    return Predictions(outputs.ids, (split,) * len(outputs), targets, predicted, logits, parts, names)
