"""What frozen features know about the labels: a linear classifier on them."""

import warnings
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from awase.evaluation.classification import f1

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
MAX_ITERATIONS = 300


class Labelled(NamedTuple):
    """Features of one split with their targets: class indices, or 0 and 1 per class."""

    features: Shaped[np.ndarray, "samples dim"]
    targets: Shaped[np.ndarray, "samples *classes"]


def linear_probe(train: Labelled, val: Labelled, test: Labelled, task: Literal["single_label", "multi_label"]) -> float:
    """Returns the test accuracy (several labels: micro F1, one classifier per class) of a logistic regression.

    Features are standardised with the training split's mean and deviation; the inverse penalty C is the one of 0.01,
    0.1, 1 and 10 that is best on validation (the smallest among equals). Deterministic. Whether the solver reached its
    tolerance within 300 iterations is not asked: the probe compares encoders, it is no model. Raises `ValueError` for
    an empty split and for NaN.
    """
    for name, part in (("train", train), ("val", val), ("test", test)):
        if len(part.features) == 0 or not np.isfinite(part.features).all():
            raise ValueError(f"The linear probe needs features that are finite, and some of them; see split {name!r}.")
    scaler = StandardScaler().fit(train.features.astype(np.float64))
    scaled = [scaler.transform(part.features.astype(np.float64)) for part in (train, val, test)]
    best, result = -1.0, 0.0
    for strength in STRENGTHS:
        said = _predict(scaled[0], train.targets, scaled[1:], strength, task)
        value = _value(said[0], val.targets)
        if value > best:
            best, result = value, _value(said[1], test.targets)
    return result


def _value(predicted: Shaped[np.ndarray, "samples *classes"], targets: Shaped[np.ndarray, "samples *classes"]) -> float:
    return f1(predicted, targets) if targets.ndim == 2 else float((predicted == targets).mean())


def _predict(
    features: Float[np.ndarray, "samples dim"],
    targets: Shaped[np.ndarray, "samples *classes"],
    others: list[Float[np.ndarray, "_ dim"]],
    strength: float,
    task: str,
) -> list[Shaped[np.ndarray, "_ *classes_"]]:
    if task == "single_label":
        return _predict_one(features, targets.astype(np.int64), others, strength)
    columns = [_predict_one(features, column.astype(np.int64), others, strength) for column in targets.T]
    return [np.stack([column[part] for column in columns], axis=1) for part in range(len(others))]


def _predict_one(
    features: Float[np.ndarray, "samples dim"],
    targets: Int[np.ndarray, " samples"],
    others: list[Float[np.ndarray, "_ dim"]],
    strength: float,
) -> list[Int[np.ndarray, " _"]]:
    if (targets == targets[0]).all():  # one class only: there is nothing to separate
        return [np.full(len(part), targets[0]) for part in others]
    model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, targets)
    return [model.predict(part) for part in others]
