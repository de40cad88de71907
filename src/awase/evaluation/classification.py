"""Metrics of classification with one label or several, as pure functions of scores and targets."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from scipy.special import expit, log_softmax
from torch import Tensor

from awase.statistics import correct, label_counts

Task = Literal["single_label", "multi_label"]
Scores = Shaped[np.ndarray, "samples classes"] | Shaped[Tensor, "samples classes"]
Classes = Shaped[np.ndarray, " samples"] | Shaped[Tensor, " samples"]
Labels = Shaped[np.ndarray, "samples *classes"] | Shaped[Tensor, "samples *classes"]


def accuracy(scores: Scores, targets: Classes) -> float:
    """Returns the share of samples whose target has the strictly highest score, in [0, 1].

    A target that shares the highest score with another class counts as wrong. Raises `ValueError` for NaN, for targets
    outside the classes and for no samples. Example: `accuracy([[2, 1], [1, 1]], [0, 0]) == 0.5`.
    """
    values, classes = as_array(scores), as_array(targets)
    _check_rows(values)
    return float(correct(values, classes).mean())


def f1(
    predicted: Labels,
    targets: Labels,
    average: Literal["micro", "macro"] = "micro",
    zero_division: float = 0.0,
) -> float:
    """Returns F1 = 2 TP / (2 TP + FP + FN), in [0, 1], of class indices or of 0 and 1 per class.

    `micro` adds the counts over classes first; `macro` is the plain mean over classes, with class indices over those
    that occur in `predicted` or `targets`. A class without any count has `zero_division`.
    Example: `f1([0, 1, 1], [0, 1, 0], "macro")` is (2/3 + 2/3) / 2. Raises `ValueError` for no samples.
    """
    said, true = as_array(predicted), as_array(targets)
    _check_rows(said)
    if true.ndim == 1:
        classes = np.union1d(said, true)
        said, true = said[:, None] == classes, true[:, None] == classes
    sums = np.stack([part.sum(axis=0) for part in label_counts(said, true)])  # (3, classes)
    hits, false, missed = sums.sum(axis=1, keepdims=True) if average == "micro" else sums
    below = 2 * hits + false + missed
    values = np.divide(2 * hits, below, out=np.full_like(below, zero_division), where=below > 0)
    return float(values.mean())


def confusion_matrix(predicted: Classes, targets: Classes, num_classes: int) -> Int[np.ndarray, "classes classes"]:
    """Returns counts, rows by target and columns by prediction.

    Example: `confusion_matrix([1, 1], [0, 1], 2)` is `[[0, 1], [0, 1]]`.
    """
    cells = as_array(targets).astype(np.int64) * num_classes + as_array(predicted).astype(np.int64)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def multilabel_predictions(logits: Scores, threshold: float = 0.5) -> Int[np.ndarray, "samples classes"]:
    """Returns 1 where the probability sigmoid(logit) is at least `threshold`, else 0.

    Example: `multilabel_predictions([[0., -1.]], 0.5)` is `[[1, 0]]`.
    """
    return np.asarray(expit(as_array(logits).astype(np.float64)) >= threshold, dtype=np.int64)


def best_threshold(logits: Scores, targets: Labels) -> float:
    """Returns the one probability threshold with the highest micro F1; to be called on validation.

    Every cut between two different probabilities is tried; among equals the one nearest to 0.5 wins, and without any
    positive target it is 0.5. Example: `best_threshold([[2.], [1.], [-1.]], [[1], [1], [0]])` is the middle of
    sigmoid(1) and sigmoid(-1): 0.5.
    """
    probabilities = expit(as_array(logits).astype(np.float64)).ravel()
    truth = as_array(targets).astype(bool).ravel()
    if len(probabilities) == 0 or np.isnan(probabilities).any():
        raise ValueError("A threshold needs samples whose scores are not NaN.")
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(truth[order])
    values = 2 * hits / (np.arange(1, len(ranked) + 1) + truth.sum())
    below = np.append(ranked[1:], 0.0)
    cuts = np.where(below < ranked, (ranked + below) / 2, np.nan)  # inside a tie no cut is possible
    possible = np.flatnonzero((below < ranked) & (cuts <= ranked) & (cuts > below))
    if not truth.any() or len(possible) == 0:
        return 0.5
    best = possible[values[possible] == values[possible].max()]
    return float(cuts[best[np.argmin(np.abs(cuts[best] - 0.5))]])


def score(logits: Scores, targets: Labels, task: Task, threshold: float = 0.5) -> dict[str, float]:
    """Returns `accuracy`, `f1_macro`, `f1_micro` and `loss` of one split.

    One label: top-1 accuracy, F1 of the first highest class, mean cross-entropy in nats. Several labels: accuracy is
    the share of samples with every label right (subset accuracy), F1 at `threshold`, and the loss is the mean binary
    cross-entropy over samples and classes. Raises `ValueError` for NaN and for no samples.
    """
    values, truth = as_array(logits).astype(np.float64), as_array(targets)
    _check_rows(values)
    if np.isnan(values).any():
        raise ValueError("The logits contain NaN: a model that gives NaN has no accuracy.")
    if task == "single_label":
        classes = truth.astype(np.int64)
        said, right = values.argmax(axis=1), accuracy(values, classes)
        loss = _cross_entropy(values, classes)
    else:
        said = multilabel_predictions(values, threshold)
        right = float((said.astype(bool) == truth.astype(bool)).all(axis=1).mean())
        loss = _binary_cross_entropy(values, truth)
    f1s = {f"f1_{average}": f1(said, truth, average) for average in ("macro", "micro")}
    return {"accuracy": right, **f1s, "loss": loss}


def as_array(values: Labels) -> Shaped[np.ndarray, "samples *classes"]:
    """The values as a numpy array on the CPU; bfloat16 becomes float32."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return values


def _check_rows(values: Shaped[np.ndarray, "..."]) -> None:
    if len(values) == 0:
        raise ValueError("There are no samples to score; a metric of an empty split has no value.")


def _cross_entropy(logits: Float[np.ndarray, "samples classes"], targets: Int[np.ndarray, " samples"]) -> float:
    return float(-log_softmax(logits, axis=1)[np.arange(len(targets)), targets].mean())


def _binary_cross_entropy(
    logits: Float[np.ndarray, "samples classes"], targets: Shaped[np.ndarray, "samples classes"]
) -> float:
    return float((np.logaddexp(0.0, logits) - logits * targets).mean())
