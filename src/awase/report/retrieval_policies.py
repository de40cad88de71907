"""The policy under which a staged method added its modality, and how much of naive staging's gap it closes."""

from collections.abc import Sequence
from typing import Any

from awase.report import numbers
from awase.report.groups import Group
from awase.report.retrieval_numbers import stages_of
from awase.report.retrieval_stages import Staged
from awase.statistics import gap_closed

NAIVE = "naive"


def policy_of(group: Group) -> str:
    """Its policies, `naive` without any; a dash for a method that is not staged."""
    staged = _staged_of(group)
    if staged is None:
        return numbers.NONE
    names = [str(policy["name"]) for policy in staged.get("policy") or ()]
    names += ["freeze"] if staged.get("freeze") else []  # as earlier versions wrote it
    return " + ".join(names) or NAIVE


def naive_of(one: Staged, staged: Sequence[Staged]) -> Staged | None:
    """The naive method in the same order and space, with a second stage of the same kind; None where there is none."""
    own = _order(one.group)
    same = (other for other in staged if own is not None and _order(other.group) == own)
    return next((other for other in same if policy_of(other.group) == NAIVE), None)


def closed(one: Staged, naive: Staged | None, place: int) -> float | None:
    """GC of a direction: 0 as low as naive staging, 1 as high as the reference.

    None for naive staging itself, without a reference, and where the interval of the gap reaches zero or is not known.
    """
    task = one.tasks[place]
    if naive is None or naive is one or task not in naive.tasks or naive.joint is None:
        return None
    there = naive.tasks.index(task)
    intervals = naive.intervals[there]
    if intervals is None or intervals.gap is None:
        return None
    joint, before = naive.joint[there].mean, naive.metrics.tasks[there].final
    return gap_closed(one.metrics.tasks[place].final, before, joint, gap_low=intervals.gap.low)


def _order(group: Group) -> tuple[Any, ...] | None:
    staged = _staged_of(group)
    space = _settings_of(group).get("retrieval")
    return (tuple(sorted(staged["first"])), staged.get("second", "strict"), space) if staged else None


def _staged_of(group: Group) -> dict[str, Any] | None:
    """The curriculum in the method's settings, of a stream its policy and order; None where it has none."""
    settings, stages = _settings_of(group), stages_of(group)
    staged = settings.get("staged")
    if isinstance(staged, dict):
        return staged
    return {"first": stages, "policy": settings.get("policy")} if len(stages) > 1 and _of_stream(group) else None


def _of_stream(group: Group) -> bool:
    method: Any = group.runs[0].record.config.get("method")
    return isinstance(method, dict) and method.get("method") == "continual_mcn"


def _settings_of(group: Group) -> dict[str, Any]:
    method: Any = group.runs[0].record.config.get("method")
    settings = method.get("settings") if isinstance(method, dict) else None
    return settings if isinstance(settings, dict) else {}
