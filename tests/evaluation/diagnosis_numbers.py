"""Made-up evidence about a modality that is used and healthy; tests change single numbers."""

from typing import Any

from awase.records import Estimate, ModalityEvidence


def estimate(value: float, half: float = 0.01, count: int = 211) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, count=count)


def evidence(**changes: Any) -> ModalityEvidence:
    fields: dict[str, Any] = {
        "own": estimate(0.7),
        "own_from": "stage",
        "own_still_improving": False,
        "inside": estimate(0.66),
        "only": estimate(0.66),
        "probe": estimate(0.7),
        "own_probe": estimate(0.7),
        "own_above_chance": estimate(0.45),
        "probe_above_chance": estimate(0.45),
        "probe_change": estimate(0.0),
        "inside_minus_probe": estimate(-0.04),
        "only_minus_probe": estimate(-0.04),
        "only_minus_own": estimate(-0.04),
        "gain": estimate(0.15),
        "loss_gain": estimate(0.3),
        "probes_gain": estimate(0.1),
        "shapley": estimate(0.3),
        "shapley_loss": estimate(0.4),
    }
    return ModalityEvidence(**{**fields, **changes})
