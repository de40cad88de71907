"""Decisions computed from validation outputs: pure functions from logits to a small JSON document."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logsumexp, softmax

Array = NDArray[np.float64]
Decision = Callable[..., dict[str, Any]]


def mean_loss(logits: Array, targets: NDArray[Any]) -> float:
    """The mean negative log-likelihood: of one class per row, or per entry of several labels `(rows, classes)`."""
    if targets.ndim == 1:
        return float(-log_softmax(logits, axis=1)[np.arange(len(targets)), targets].mean())
    return float((np.logaddexp(0.0, logits) - targets * logits).mean())


def temperatures(logits: Mapping[str, Array], targets: NDArray[Any]) -> dict[str, float]:
    """Per modality the temperature T in [0.05, 20] for which z / T has the least validation loss (Guo et al. 2017)."""
    found = {}
    for name, own in logits.items():
        result = minimize_scalar(
            lambda log_t, z=own: mean_loss(z / np.exp(log_t), targets), bounds=np.log([0.05, 20.0]), method="bounded"
        )
        found[name] = float(np.exp(result.x))
    return found


def ensemble_weights(
    logits: Mapping[str, Array], targets: NDArray[Any], of: str = "logits", calibrated: bool = False
) -> dict[str, float]:
    """Weights (positive, summing to the number of modalities) whose weighted mean has the least validation loss.

    With `calibrated`, of the logits divided by their `temperatures`.
    """
    names = list(logits)
    scales = temperatures(logits, targets) if calibrated else dict.fromkeys(names, 1.0)
    stacked = np.stack([logits[name] / scales[name] for name in names])  # (modalities, rows, classes)

    def loss(free: Array) -> float:
        weights = softmax(free)
        if of == "logits":
            return mean_loss(np.tensordot(weights, stacked, axes=1), targets)
        if targets.ndim > 1:
            mixed = np.clip(np.tensordot(weights, expit(stacked), axes=1), 1e-9, 1 - 1e-9)
            return mean_loss(np.log(mixed) - np.log1p(-mixed), targets)
        log_weights = np.log(weights)[:, None, None]
        return mean_loss(logsumexp(log_weights + log_softmax(stacked, axis=2), axis=0), targets)

    best = minimize(loss, np.zeros(len(names)), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6})
    weights = softmax(best.x) * len(names)
    return {name: float(weight) for name, weight in zip(names, weights, strict=True)}


DECISIONS: dict[str, Decision] = {"temperatures": temperatures, "ensemble_weights": ensemble_weights}
