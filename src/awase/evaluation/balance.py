"""How far the modalities were apart while they were trained together."""

from collections.abc import Mapping, Sequence

from awase.records import BalancePoint, Epoch, StageRecord

LATE = 0.25
"""The share of a stage's epochs that count as its end."""
RISE = 0.02
"""Two points of the metric in that time; less is within the noise of a validation of a few hundred samples."""


def discrepancy_ratios(target_scores: Mapping[str, float]) -> dict[str, float]:
    """Modality -> its mean probability of the target over the mean of the others'.

    With two modalities the discrepancy ratio of OGM-GE (Peng et al. 2022, equation 9) with means of the scores in place
    of sums. Above 1: ahead of the others. Where the others' mean is 0 there is none. Empty with fewer than two.
    Example: scores of 0.9 and 0.3 give 3 and 1/3.
    """
    found = {}
    for name, score in target_scores.items():
        others = [value for other, value in target_scores.items() if other != name]
        if others and sum(others) > 0:
            found[name] = score * len(others) / sum(others)
    return found


def still_rising(curve: Sequence[Epoch], still_improving: bool, metric: str) -> bool:
    """Whether a stage that was best at its last epoch had also risen by two points over the last quarter of its epochs.

    The loss has no points: there being best at the last epoch is enough.
    """
    if not still_improving or metric == "loss":
        return still_improving
    before = curve[: len(curve) - max(1, round(LATE * len(curve)))]
    if not before:
        return True
    return max(point.val_metric for point in curve) - max(point.val_metric for point in before) >= RISE


def balance(stages: Sequence[StageRecord]) -> tuple[BalancePoint, ...]:
    """Every epoch of the stages that trained several modalities, in order; none where no stage did."""
    return tuple(
        BalancePoint(
            stage=stage.name,
            epoch=epoch.epoch,
            target_scores=epoch.target_scores,
            ratios=discrepancy_ratios(epoch.target_scores),
            gradient_norms=epoch.gradient_norms,
        )
        for stage in stages
        for epoch in stage.curve
        if len(epoch.target_scores) > 1 or len(epoch.gradient_norms) > 1
    )
