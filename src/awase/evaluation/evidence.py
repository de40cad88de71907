"""Decisions of models and probes on the same samples become numbers with paired intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from awase.evaluation.decided import Decided, score_parts
from awase.evaluation.shapley import MAX_MODALITIES, interaction_weights
from awase.records import Estimate, ModalityEvidence
from awase.statistics import Ratio, linear_combinations, shapley_weights
from awase.statistics.shapley import Subset

NOTHING: Subset = frozenset()
RULE_OF_THREE = 3.0
"""What was seen in none of n samples has a rate below 3 / n with 95 % confidence (Hanley and Lippman-Hand 1983)."""

OwnFrom = Literal["stage", "store", "only"]
Decisions = Int[np.ndarray, "samples *classes"]
Combinations = Mapping[str, Mapping[Any, float]]
"""Name of a number -> name of a part -> its weight."""


@dataclass(frozen=True)
class OwnModel:
    """What the model that was trained on one modality alone decided, and where it came from."""

    source: OwnFrom
    decisions: Decisions
    still_improving: bool = False
    probe: Decisions | None = None
    """Of a linear probe on its features."""


@dataclass(frozen=True)
class Measured:
    """Everything that was decided about the samples of a split, a row each; row order is the same everywhere.

    `subsets[S]` is the joint model given the modalities S, and the constant prediction where a sample has none of them;
    `subsets[frozenset()]` is the constant prediction. Per modality, rows of samples that lack it mean nothing.
    """

    targets: Shaped[np.ndarray, "samples *classes"]
    groups: tuple[str, ...] | None
    present: dict[str, Bool[np.ndarray, " samples"]]
    subsets: dict[Subset, Decided]
    inside: dict[str, Decisions]
    probes: dict[str, Float[np.ndarray, "samples classes_"]]
    """Log-probabilities per class, or log-odds per label."""
    own: dict[str, OwnModel] = field(default_factory=dict)

    @property
    def everything(self) -> Subset:
        """All modalities."""
        return frozenset(self.present)

    @property
    def has_all_subsets(self) -> bool:
        """Whether there are few enough modalities for exact Shapley values."""
        return 2 <= len(self.present) <= MAX_MODALITIES


def whole_evidence(measured: Measured) -> dict[str, Estimate]:
    """`whole`, `constant`, their difference `above_chance`, and the losses of both."""
    parts = {name: measured.subsets[name] for name in (measured.everything, NOTHING)}
    whole, nothing = parts
    scores = estimates(
        {name: score_parts(part.decisions, measured.targets) for name, part in parts.items()},
        {"whole": {whole: 1.0}, "constant": {nothing: 1.0}, "above_chance": {whole: 1.0, nothing: -1.0}},
        measured.groups,
    )
    losses = estimates(
        {name: _mean(part.losses) for name, part in parts.items()},
        {"whole_loss": {whole: 1.0}, "constant_loss": {nothing: 1.0}},
        measured.groups,
        bounded=False,
    )
    return scores | losses


def modality_evidence(measured: Measured) -> dict[str, ModalityEvidence]:
    """The numbers of every modality, from the samples that have it; Shapley values from all samples.

    Raises `ValueError` for a modality that no sample has.
    """
    shares = _shares(measured)
    return {name: _of_modality(measured, name).model_copy(update=shares.get(name, {})) for name in measured.present}


def _of_modality(measured: Measured, name: str) -> ModalityEvidence:
    """All but the Shapley values."""
    rows = measured.present[name]
    if not rows.any():
        raise ValueError(f"No sample of this split has {name}, so nothing can be said about it; choose another split.")
    groups = None if measured.groups is None else [measured.groups[row] for row in np.flatnonzero(rows)]
    targets, own = measured.targets[rows], measured.own[name]
    decided = _decisions(measured, name, own)
    parts = {key: score_parts(values[rows], targets) for key, values in decided.items()}
    found = estimates(parts, {key: row for key, row in _COMBINATIONS.items() if set(row) <= set(parts)}, groups)
    loss_gain = None
    if len(measured.present) > 1:
        losses = {key: _mean(part.losses[rows]) for key, part in _whole_and_without(measured, name).items()}
        combination: Combinations = {"loss_gain": {"without": 1.0, "whole": -1.0}}
        loss_gain = estimates(losses, combination, groups, bounded=False)["loss_gain"]
    optional = {key: found.get(key) for key in ("own_probe", "probe_change", "gain", "probes_gain")}
    needed = {key: value for key, value in found.items() if key not in optional}
    return ModalityEvidence(
        **needed,
        **optional,
        own_from=own.source,
        own_still_improving=own.still_improving,
        loss_gain=loss_gain,
        shapley=None,
        shapley_loss=None,
    )


def interaction_evidence(measured: Measured) -> dict[str, Estimate]:
    """`a+b` -> the Shapley interaction index of the two for the metric; nothing where not every subset is known."""
    if not measured.has_all_subsets:
        return {}
    weights = {"+".join(pair): row for pair, row in interaction_weights(tuple(measured.present)).items()}
    parts = {name: score_parts(part.decisions, measured.targets) for name, part in measured.subsets.items()}
    return estimates(parts, weights, measured.groups)


_COMBINATIONS: Combinations = {
    **{key: {key: 1.0} for key in ("own", "inside", "only", "probe", "own_probe")},
    "own_above_chance": {"own": 1.0, "constant": -1.0},
    "probe_above_chance": {"probe": 1.0, "constant": -1.0},
    "probe_change": {"probe": 1.0, "own_probe": -1.0},
    "inside_minus_probe": {"inside": 1.0, "probe": -1.0},
    "only_minus_probe": {"only": 1.0, "probe": -1.0},
    "only_minus_own": {"only": 1.0, "own": -1.0},
    "gain": {"whole": 1.0, "without": -1.0},
    "probes_gain": {"probes": 1.0, "probes_without": -1.0},
}


def estimates(
    parts: Mapping[Any, Ratio], combinations: Combinations, groups: Sequence[str] | None, *, bounded: bool = True
) -> dict[str, Estimate]:
    """The weighted sums of metrics with 95 % bootstrap intervals, all from the same draws of samples (or groups).

    Where every draw gives the same number, the bootstrap knows nothing about its error: the interval of a `bounded`
    metric (a rate, or a combination of rates) is widened by 3 / n on each side, n the number of groups.
    """
    order = list(parts)
    rows = np.array([[float(row.get(name, 0.0)) for name in order] for row in combinations.values()])
    found = linear_combinations([parts[name] for name in order], rows, groups)
    result = {}
    for name, row, interval in zip(combinations, rows, found, strict=True):
        low, high = interval.low, interval.high
        if bounded and low == high:
            width = RULE_OF_THREE / interval.groups
            bottom = 0.0 if row.sum() > 0.5 else -1.0
            low, high = max(low - width, min(bottom, low)), min(high + width, max(1.0, high))
        result[name] = Estimate(value=interval.mean, low=low, high=high, count=interval.items)
    return result


def fused_probes(measured: Measured, names: Subset) -> Decisions:
    """The decisions of the mean of the probes of `names`, over those that a sample has; constant where it has none."""
    number = measured.subsets[NOTHING].decisions
    if not names:
        return number
    present = np.stack([measured.present[name] for name in sorted(names)])  # (names, samples)
    scores = np.stack([measured.probes[name] for name in sorted(names)])  # (names, samples, classes)
    total = np.where(present[:, :, None], scores, 0.0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)[:, None]
    decided = (total >= 0).astype(np.int64) if number.ndim == 2 else total.argmax(axis=1)
    some = present.any(axis=0).reshape(-1, *[1] * (number.ndim - 1))
    return np.where(some, decided, number)


def _decisions(measured: Measured, name: str, own: OwnModel) -> dict[str, Decisions]:
    """What is compared for one modality, under the names of `_COMBINATIONS`."""
    found = {
        "constant": measured.subsets[NOTHING].decisions,
        "only": measured.subsets[frozenset({name})].decisions,
        "inside": measured.inside[name],
        "probe": fused_probes(measured, frozenset({name})),
        "own": own.decisions,
    }
    if own.probe is not None:
        found["own_probe"] = own.probe
    if len(measured.present) > 1:
        found |= {key: part.decisions for key, part in _whole_and_without(measured, name).items()}
        found["probes"] = fused_probes(measured, measured.everything)
        found["probes_without"] = fused_probes(measured, measured.everything - {name})
    return found


def _whole_and_without(measured: Measured, name: str) -> dict[str, Decided]:
    everything = measured.everything
    return {"whole": measured.subsets[everything], "without": measured.subsets[everything - {name}]}


def _shares(measured: Measured) -> dict[str, dict[str, Estimate]]:
    """Modality -> `shapley` of the metric and `shapley_loss` of the negative loss; nothing for too many modalities."""
    if not measured.has_all_subsets:
        return {}
    weights = shapley_weights(tuple(measured.present))
    scores = {key: score_parts(part.decisions, measured.targets) for key, part in measured.subsets.items()}
    losses = {key: _mean(-part.losses) for key, part in measured.subsets.items()}
    of_metric = estimates(scores, weights, measured.groups)
    of_loss = estimates(losses, weights, measured.groups, bounded=False)
    return {name: {"shapley": of_metric[name], "shapley_loss": of_loss[name]} for name in weights}


def _mean(values: Float[np.ndarray, " samples"]) -> Ratio:
    return Ratio(values[None], np.ones((1, len(values))))
