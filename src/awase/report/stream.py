"""What methods knew of every data set of a stream after every stage, and the measures of it, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from awase.records import StreamRecord
from awase.report.groups import Group, Stat, Table, stat_of
from awase.statistics import (
    ContinualMetrics,
    Difference,
    Interval,
    TaskIntervals,
    bootstrap_mean,
    continual_metrics,
    gap_closed,
    paired_difference,
    task_intervals,
)

Rights = dict[str, tuple[bool, str | None]]
"""Id of a test row -> whether it was right, and its group."""


@dataclass(frozen=True)
class Streamed:
    """A method on the stream. `stages` are one of a joint model, `each alone` of a model per data set.

    `scores[i][j]` is the accuracy on data set j after stage i; `first[j]` the first stage that learned from it. The
    measures are of methods that go from data set to data set.
    """

    group: Group
    kind: str
    stages: tuple[str, ...]
    scores: tuple[tuple[Stat | None, ...], ...]
    first: tuple[int, ...]
    metrics: ContinualMetrics | None = None
    intervals: tuple[TaskIntervals | None, ...] = ()
    average: Interval | None = None
    """The mean over the data sets after the last stage."""
    difference: Difference | None = None
    """Of that to the naive one."""
    closed: float | None = None
    """The share of the gap between naive and joint training that is closed."""


@dataclass(frozen=True)
class StreamTable:
    """All methods on one stream under one naming: the data set of every row known (task-aware) or not."""

    known: bool
    data_sets: tuple[str, ...]
    lines: tuple[Streamed, ...]
    joint: str | None
    naive: str | None

    @property
    def title(self) -> str:
        """`Task-aware` or `Task-agnostic`."""
        return "Task-aware" if self.known else "Task-agnostic"


def stream_tables(table: Table) -> list[StreamTable]:
    """The task-agnostic and the task-aware table; none where no run was on a stream."""
    groups = [group for group in table.groups if _record(group) is not None]
    found = [_table(groups, known) for known in (False, True)] if groups else []
    return [one for one in found if one.lines]


def _table(groups: Sequence[Group], known: bool) -> StreamTable:
    names = _stream(groups[0]).data_sets
    bare = [line for line in (_bare(group, known) for group in groups) if line is not None]
    joint = next((line for line in bare if line.kind == "joint"), None)
    naive = next((line for line in bare if _policy(line.group) == "naive"), None)
    rights = {line.group.method: _rights(line, names, known) for line in bare}
    lines = tuple(_measured(line, joint, naive, rights, known) for line in bare)
    title = {"joint": joint, "naive": naive}
    return StreamTable(known, names, lines, *(None if one is None else one.group.method for one in title.values()))


def _record(group: Group) -> StreamRecord | None:
    return group.runs[0].record.stream


def _stream(group: Group) -> StreamRecord:
    record = _record(group)
    assert record is not None, "a run on a stream"
    return record


def _policy(group: Group) -> str | None:
    """The policy of a run of `continual`."""
    method = group.runs[0].record.config.get("method")
    if not isinstance(method, dict) or method.get("method") != "continual":
        return None
    return str(method.get("settings", {}).get("policy", "naive"))


def _bare(group: Group, known: bool) -> Streamed | None:
    """The scores of a method; None where a stage has no number of a data set that it learned from.

    Whose model answers says the data set, so that models of one data set each have task-aware scores alone.
    """
    record = _stream(group)
    if record.kind == "alone" and not known:
        return None
    names, stages = record.data_sets, tuple(record.trained)
    firsts = [next((i for i, stage in enumerate(stages) if name in record.trained[stage]), None) for name in names]
    first = tuple(place for place in firsts if place is not None)
    if len(first) < len(names):
        return None
    scores = [[_stat(group, stage, name, known) for name in names] for stage in stages]
    if record.kind == "alone":
        own = tuple(scores[first[j]][j] for j in range(len(names)))
        whole = all(stat is not None for stat in own)
        return Streamed(group, "alone", ("each alone",), (own,), (0,) * len(names)) if whole else None
    if any(scores[i][j] is None for j in range(len(names)) for i in range(first[j], len(stages))):
        return None
    return Streamed(group, record.kind, stages, tuple(tuple(row) for row in scores), first)


def _stat(group: Group, stage: str, data_set: str, known: bool) -> Stat | None:
    """The test accuracy over seeds, folds averaged within a seed first."""
    found: dict[int, list[float]] = {}
    for run in group.runs:
        for number in run.record.stream.numbers if run.record.stream is not None else ():
            if (number.stage, number.split, number.data_set, number.known) == (stage, "test", data_set, known):
                found.setdefault(run.record.seed, []).append(number.accuracy)
    return stat_of({seed: float(np.mean(values)) for seed, values in sorted(found.items())})


# ---- measures -------------------------------------------------------------------------------------------------------


def _measured(
    line: Streamed,
    joint: Streamed | None,
    naive: Streamed | None,
    rights: Mapping[str, "_Rights | None"],
    known: bool,
) -> Streamed:
    own = rights[line.group.method]
    average = None if own is None else _average(own)
    if line.kind != "sequence":
        return Streamed(line.group, line.kind, line.stages, line.scores, line.first, average=average)
    values = np.array([[np.nan if stat is None else stat.mean for stat in row] for row in line.scores])
    record = _stream(line.group)
    every = len({label for labels in record.classes.values() for label in labels})
    chance = np.array([1 / (len(record.classes[name]) if known else every) for name in record.data_sets])
    reference = None if joint is None else np.array([stat.mean for stat in joint.scores[-1] if stat is not None])
    other = None if naive is None or naive is line else rights[naive.group.method]
    theirs = None if joint is None else rights[joint.group.method]
    return Streamed(
        line.group,
        line.kind,
        line.stages,
        line.scores,
        line.first,
        continual_metrics(values, line.first, joint=reference, chance=chance),
        tuple(_intervals(own, theirs, j, line.first[j]) for j in range(len(record.data_sets))),
        average,
        None if own is None or other is None else _difference(own, other),
        _closed(line, joint, naive, rights),
    )


@dataclass(frozen=True)
class _Rights:
    """Per stage and data set, seed -> what was right; an empty dictionary where a stage has nothing of a data set."""

    cells: tuple[tuple[dict[int, Rights], ...], ...]

    @property
    def final(self) -> tuple[dict[int, Rights], ...]:
        return self.cells[-1]


def _rights(line: Streamed, names: Sequence[str], known: bool) -> _Rights | None:
    """From the files beside the records; None where one is not there."""
    record = _stream(line.group)
    stages = tuple(record.trained)
    found: dict[tuple[str, str], dict[int, Rights]] = {}
    for run in line.group.runs:
        hits = run.stream_hits()
        if hits is None:
            return None
        for (stage, name, aware), rows in hits.parts().items():
            if aware == known:
                found.setdefault((stage, name), {}).setdefault(run.record.seed, {}).update(rows)
    if line.kind == "alone":
        own = [next(stage for stage in stages if name in record.trained[stage]) for name in names]
        return _Rights((tuple(found.get(cell, {}) for cell in zip(own, names, strict=True)),))
    return _Rights(tuple(tuple(found.get((stage, name), {}) for name in names) for stage in stages))


def _stack(
    parts: Sequence[Mapping[int, Rights]],
) -> tuple[Float[np.ndarray, "parts seeds rows"], tuple[str, ...] | None] | None:
    """What was right on the seeds and rows that all parts share, and the groups of the rows; None without any."""
    seeds = sorted(set.intersection(*(set(part) for part in parts)))
    if not seeds:
        return None
    shared = set.intersection(*(set(part[seed]) for part in parts for seed in seeds))
    if not shared:
        return None
    names = [name for name in parts[0][seeds[0]] if name in shared]
    values = [[[float(part[seed][name][0]) for name in names] for seed in seeds] for part in parts]
    groups = [parts[0][seeds[0]][name][1] for name in names]
    there = tuple(group for group in groups if group is not None)
    return np.array(values), there if len(there) == len(names) else None


def _intervals(own: _Rights | None, joint: _Rights | None, place: int, first: int) -> TaskIntervals | None:
    if own is None:
        return None
    stages = [row[place] for row in own.cells[first:]]
    stacked = _stack([*stages, *([] if joint is None else [joint.final[place]])])
    if stacked is None:
        return None
    values, groups = stacked
    hits = values[: len(stages)]
    return task_intervals(hits, 0, joint_hits=None if joint is None else values[-1], groups=groups)


def _mean_over_sets(
    methods: Sequence[_Rights],
) -> tuple[list[Float[np.ndarray, "seeds rows"]], tuple[str, ...] | None] | None:
    """Per method, values of all rows whose mean is the mean over the data sets of the last accuracy; and groups."""
    stacks = [_stack([one.final[j] for one in methods]) for j in range(len(methods[0].final))]
    there = [one for one in stacks if one is not None]
    if len(there) < len(stacks) or len({values.shape[1] for values, _ in there}) != 1:
        return None
    total = sum(values.shape[2] for values, _ in there)
    weighted = [values * (total / (len(there) * values.shape[2])) for values, _ in there]
    groups = [names for _, names in there if names is not None]
    joined = tuple(name for names in groups for name in names) if len(groups) == len(there) else None
    return list(np.concatenate(weighted, axis=2)), joined


def _average(own: _Rights) -> Interval | None:
    found = _mean_over_sets([own])
    return None if found is None else bootstrap_mean(found[0][0], found[1])


def _difference(own: _Rights, other: _Rights) -> Difference | None:
    found = _mean_over_sets([own, other])
    if found is None:
        return None
    (first, second), groups = found
    return paired_difference(first, second, groups)


def _closed(
    line: Streamed, joint: Streamed | None, naive: Streamed | None, rights: Mapping[str, _Rights | None]
) -> float | None:
    if joint is None or naive is None or naive is line:
        return None
    own, low, high = (_last_mean(one) for one in (line, naive, joint))
    first, second = rights[joint.group.method], rights[naive.group.method]
    gap = None if first is None or second is None else _difference(first, second)
    return gap_closed(own, low, high, gap_low=None if gap is None else gap.low)


def _last_mean(line: Streamed) -> float:
    return float(np.mean([stat.mean for stat in line.scores[-1] if stat is not None]))
