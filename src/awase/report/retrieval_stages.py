"""What stages learned, kept and never learned: the scores R[i, j] of every direction j after stage i, and measures."""

from dataclasses import dataclass, replace

import numpy as np

from awase.report.groups import Group, Stat
from awase.report.retrieval_lines import SpaceLines
from awase.report.retrieval_numbers import is_trained, last_stage, space_stat, stages_of
from awase.statistics import (
    ContinualMetrics,
    RankTable,
    TaskIntervals,
    continual_metrics,
    recall_scores,
    task_intervals,
)


@dataclass(frozen=True)
class Staged:
    """A method of several stages on one split. A task is a direction.

    `first[j]` is the first stage that trains task j, None where none does; `joint` are the scores of the reference.
    """

    group: Group
    stages: tuple[str, ...]
    tasks: tuple[str, ...]
    scores: tuple[tuple[Stat | None, ...], ...]
    first: tuple[int | None, ...]
    joint: tuple[Stat, ...] | None
    metrics: ContinualMetrics
    intervals: tuple[TaskIntervals | None, ...]

    @property
    def deviation(self) -> float | None:
        """The largest |R* - R_N - (I + F)| of a task; None without a reference."""
        parts = [
            abs(task.gap - task.intransigence - (task.forgetting or 0.0))
            for task in self.metrics.tasks
            if task.gap is not None and task.intransigence is not None
        ]
        return max(parts) if parts else None


def staged_methods(found: SpaceLines, split: str) -> list[Staged]:
    """The methods of several stages, each with its measures by R@k of the split, k as in `SpaceLines`."""
    groups = [line.group for line in found.lines if len(stages_of(line.group)) > 1]
    return [one for one in (_staged(found, group, split) for group in groups) if one is not None]


def _staged(found: SpaceLines, group: Group, split: str) -> Staged | None:
    metric, stages = f"R@{found.k}", stages_of(group)
    reference = _shared(next((line.group for line in found.lines if line.group.method == found.reference), None), group)
    single = reference is not None and len(stages_of(reference)) == 1
    tasks = [name for name in found.directions if space_stat(group, stages[-1], split, name, metric) is not None]
    scores = [[space_stat(group, stage, split, name, metric) for name in tasks] for stage in stages]
    firsts = [_first(group, stages, name, split) for name in tasks]
    # A stage that trains a task but has no number of it (no query in this split) would be a hole in the matrix.
    whole = [
        j
        for j, first in enumerate(firsts)
        if first is None or all(scores[i][j] is not None for i in range(first, len(stages)))
    ]
    if not whole:
        return None
    tasks, firsts = [tasks[j] for j in whole], [firsts[j] for j in whole]
    scores = [[row[j] for j in whole] for row in scores]
    joint = _reference_scores(reference, split, tasks, metric) if reference is not None and single else None
    values = np.array([[np.nan if stat is None else stat.mean for stat in row] for row in scores])
    return Staged(
        group,
        stages,
        tuple(tasks),
        tuple(tuple(row) for row in scores),
        tuple(firsts),
        joint,
        continual_metrics(values, firsts, joint=None if joint is None else np.array([stat.mean for stat in joint])),
        tuple(
            _intervals(found, group, reference if joint is not None else None, split, name, first)
            for name, first in zip(tasks, firsts, strict=True)
        ),
    )


def _shared(reference: Group | None, group: Group) -> Group | None:
    """The reference's runs on the seeds and folds of `group`; None where they share none.

    Scores on other folds are of other queries, so that a method that lacks some would seem to lose or to gain.
    """
    if reference is None:
        return None
    there = {(run.record.seed, run.record.fold) for run in group.runs}
    runs = tuple(run for run in reference.runs if (run.record.seed, run.record.fold) in there)
    return replace(reference, runs=runs) if runs else None


def _first(group: Group, stages: tuple[str, ...], task: str, split: str) -> int | None:
    return next((place for place, stage in enumerate(stages) if is_trained(group, stage, task, split)), None)


def _reference_scores(reference: Group, split: str, tasks: list[str], metric: str) -> tuple[Stat, ...] | None:
    stats = [space_stat(reference, last_stage(reference), split, name, metric) for name in tasks]
    there = tuple(stat for stat in stats if stat is not None)
    return there if len(there) == len(tasks) else None


def _intervals(
    found: SpaceLines, group: Group, reference: Group | None, split: str, task: str, first: int | None
) -> TaskIntervals | None:
    """The measures with intervals, from the queries and seeds that the method and its reference share."""
    stages = stages_of(group)
    wanted = [(group, stage) for stage in (stages[first:] if first is not None else stages[-1:])]
    if reference is not None:
        wanted.append((reference, last_stage(reference)))
    joined = [found.ranks[owner.method].of(stage, split, task) for owner, stage in wanted]
    there = [one for one in joined if one is not None]
    seeds = sorted(set.intersection(*(set(one.tables) for one in there))) if there else []
    if len(there) < len(joined) or not seeds:
        return None
    tables: list[RankTable] = [one.tables[seed] for one in there for seed in seeds]
    try:
        scored = recall_scores(dict(enumerate(tables)), found.k, max(one.gallery for one in there))
    except ValueError:  # other queries than the reference: then there is nothing to pair
        return None
    hits = scored.hits.reshape(len(there), len(seeds), -1)
    return task_intervals(
        hits[:-1] if reference is not None else hits,
        None if first is None else 0,
        joint_hits=hits[-1] if reference is not None else None,
        groups=scored.groups,
    )
