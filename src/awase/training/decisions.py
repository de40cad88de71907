"""Decisions computed from validation outputs: pure functions from logits to a small JSON document."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logsumexp, softmax

from awase.config import SelectionConfig

Array = NDArray[np.float64]
Decision = Callable[..., dict[str, Any]]
Facts = Mapping[str, Mapping[str, Any]]
"""Stage -> what is known about its training: `val` (metrics on validation), `begin` and `end` (losses by split)."""


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


def better_of(facts: Facts, selection: SelectionConfig, choices: Mapping[str, str], default: str) -> dict[str, Any]:
    """`choice`: the key of `choices` whose stage is strictly better on validation than that of `default`, else that.

    `choices` maps a word to a stage's name. With several better ones the best, the first among equals.
    """
    sign = 1.0 if selection.direction == "max" else -1.0
    values = {word: sign * float(facts[name]["val"][selection.metric]) for word, name in choices.items()}
    best = max(values, key=lambda word: values[word])
    chosen = best if values[best] > values[default] else default
    return {"choice": chosen, "validation": {word: sign * value for word, value in values.items()}}


def blend_weights(
    facts: Facts, selection: SelectionConfig, joint: str, modalities: Mapping[str, str], smallest: float = 1e-3
) -> dict[str, Any]:
    """The weights w_k ~ G_k / O_k^2 of G-Blending, summing to one, as fields of an objective.

    Of each stage that measured its ends, G = L_V(begin) - L_V(end) is what it generalises and
    O = (L_V - L_T)(end) - (L_V - L_T)(begin) what it overfits, L mean losses on validation and train. `joint` and
    `modalities` name the stages. G below 0 counts as 0 and |O| below `smallest` as that, both listed under `clamped`;
    where every G is 0 the weights are equal. Source: Wang, Tran and Feiszli, CVPR 2020.
    """
    stages = {"joint": joint, **modalities}
    clamped: list[str] = []
    shares = {}
    for key, name in stages.items():
        begin, end = facts[name]["begin"], facts[name]["end"]
        gain = float(begin["val"] - end["val"])
        overfitting = float((end["val"] - end["train"]) - (begin["val"] - begin["train"]))
        if gain < 0:
            clamped.append(f"{key}: generalisation {gain:.4g} counts as 0")
        if abs(overfitting) < smallest:
            clamped.append(f"{key}: overfitting {overfitting:.4g} counts as {smallest:g}")
        shares[key] = max(gain, 0.0) / max(abs(overfitting), smallest) ** 2
    total = sum(shares.values())
    if total == 0:
        clamped.append("nothing generalises: the weights are equal")
    weights = {key: share / total if total > 0 else 1 / len(shares) for key, share in shares.items()}
    return {
        "fused_weight": weights["joint"],
        "modality_weights": {name: weights[name] for name in modalities},
        "clamped": clamped,
    }


MEASURED: dict[str, Decision] = {"better_of": better_of, "blend_weights": blend_weights}
"""Decisions from what the stages measured: functions of (facts by stage, selection)."""
