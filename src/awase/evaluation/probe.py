"""What frozen features know about the labels: a linear classifier on them."""

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import ThreadpoolController

from awase.evaluation.classification import f1

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
MAX_ITERATIONS = 300
FLOOR = -30.0
"""The least log-probability a probe gives, e^-30: so that the mean of several probes is a number."""


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
    scaled = _scaled({"train": train, "val": val, "test": test})
    best, result = -1.0, 0.0
    for strength in STRENGTHS:
        said = _predict(scaled[0], train.targets, scaled[1:], strength, task)
        value = _value(said[0], val.targets)
        if value > best:
            best, result = value, _value(said[1], test.targets)
    return result


def probe_scores(
    train: Labelled,
    val: Labelled,
    test: Labelled | None,
    task: Literal["single_label", "multi_label"],
    num_classes: int,
) -> Float[np.ndarray, "samples {num_classes}"]:
    """Returns what the probe of `linear_probe` says of each test sample: log-probabilities, or log-odds per label.

    Without `test`, of each validation sample: the strength that scores one half of them (every second row) is the best
    on the other half, so that no sample chooses for itself. A class that training lacks has the log-probability
    `FLOOR`, and so has no other one less. Raises `ValueError` as `linear_probe` does.
    """
    parts = {"train": train, "val": val} | ({} if test is None else {"test": test})
    features = _scaled(parts)
    said = [_scores(features[0], train.targets, features[1:], strength, task, num_classes) for strength in STRENGTHS]
    if test is not None:
        return said[_best([scores[0] for scores in said], val.targets)][1]
    result = np.empty_like(said[0][0])
    halves = np.arange(len(result)) % 2
    for half in (0, 1):
        own, other = halves == half, halves != half
        best = _best([scores[0][other] for scores in said], val.targets[other])
        result[own] = said[best][0][own]
    return result


def _scaled(parts: Mapping[str, Labelled]) -> list[Float[np.ndarray, "_ dim"]]:
    """The features of each part, standardised by the first one's mean and deviation."""
    for name, part in parts.items():
        if len(part.features) == 0 or not np.isfinite(part.features).all():
            raise ValueError(f"The linear probe needs features that are finite, and some of them; see split {name!r}.")
    features = [part.features.astype(np.float64) for part in parts.values()]
    scaler = StandardScaler().fit(features[0])
    return [scaler.transform(values) for values in features]


def _best(said: list[Float[np.ndarray, "samples classes"]], targets: Shaped[np.ndarray, "samples *classes_"]) -> int:
    """Which of the scores is right most often; the first among equals, and where there are no samples."""
    if len(targets) == 0:
        return 0
    decided = [(scores >= 0).astype(np.int64) if targets.ndim == 2 else scores.argmax(axis=1) for scores in said]
    return int(np.argmax([_value(part, targets) for part in decided]))


def _scores(
    features: Float[np.ndarray, "samples dim"],
    targets: Shaped[np.ndarray, "samples *classes"],
    others: list[Float[np.ndarray, "_ dim"]],
    strength: float,
    task: str,
    num_classes: int,
) -> list[Float[np.ndarray, "_ {num_classes}"]]:
    if task == "single_label":
        return _log_probabilities(features, targets.astype(np.int64), others, strength, num_classes)
    columns = [_log_probabilities(features, column.astype(np.int64), others, strength, 2) for column in targets.T]
    return [
        np.stack([column[part][:, 1] - column[part][:, 0] for column in columns], axis=1) for part in range(len(others))
    ]


def _log_probabilities(
    features: Float[np.ndarray, "samples dim"],
    targets: Int[np.ndarray, " samples"],
    others: list[Float[np.ndarray, "_ dim"]],
    strength: float,
    num_classes: int,
) -> list[Float[np.ndarray, "_ {num_classes}"]]:
    model = _fitted(features, targets, strength)
    found = [np.full((len(part), num_classes), FLOOR) for part in others]
    for result, part in zip(found, others, strict=True):
        if model is None:
            result[:, targets[0]] = 0.0
        elif len(part):
            result[:, model.classes_] = np.maximum(model.predict_log_proba(part), FLOOR)
    return found


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
    model = _fitted(features, targets, strength)
    if model is None:
        return [np.full(len(part), targets[0]) for part in others]
    return [model.predict(part) for part in others]


def _fitted(
    features: Float[np.ndarray, "samples dim"], targets: Int[np.ndarray, " samples"], strength: float
) -> LogisticRegression | None:
    """The regression; None with one class only, where there is nothing to separate."""
    if (targets == targets[0]).all():
        return None
    model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
    # On several threads so small a problem took 50 times as long while another process used the cores.
    with warnings.catch_warnings(), _pools().limit(limits=1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, targets)
    return model


@lru_cache(maxsize=1)
def _pools() -> ThreadpoolController:
    """The thread pools of this process; looking for them takes as long as a small fit."""
    return ThreadpoolController()
