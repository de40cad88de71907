"""The main table of retrieval runs: each method's numbers in the main directions, intervals, paired differences."""

from dataclasses import dataclass, field

import numpy as np

from awase.report.groups import Group, Stat, Table
from awase.report.retrieval_bank import bank_sentence, bank_stat
from awase.report.retrieval_numbers import (
    KS,
    METRICS,
    better,
    directions_of,
    is_aware,
    last_stage,
    main_of,
    protocol_of,
    published_number,
    recall_k,
    selection_stat,
    space_stat,
    splits_of,
    stages_of,
)
from awase.report.retrieval_ranks import GroupRanks, Joined
from awase.statistics import Difference, Interval, bootstrap_function, compare_recalls, recall_scores

REFERENCE = "joint"
AWARE = (
    "Task-aware: asked under the adapters of exactly the modalities asked, so that the task is known beforehand. "
    "Task-agnostic: one shared space, whatever is asked."
)


@dataclass(frozen=True)
class Cell:
    """A method in one direction of one split: stats by metric, intervals and paired differences by k.

    `banked` are those with a query bank (inductive); all else is raw. `aware`: all are under adapters of exactly the
    modalities asked, but for `agnostic`, which are those in the shared space beside them.
    """

    stats: dict[str, Stat]
    banked: dict[str, Stat]
    intervals: dict[int, Interval]
    differences: dict[int, Difference]
    published: dict[str, float]
    aware: bool = False
    agnostic: dict[str, Stat] = field(default_factory=dict)


@dataclass(frozen=True)
class SpaceLine:
    """One method: its validation number and its cells by (split, direction)."""

    group: Group
    val: Stat | None
    cells: dict[tuple[str, str], Cell]
    trainable: float
    seconds: float
    memory_mib: float

    @property
    def title(self) -> str:
        """The method, and whether its numbers are of tasks known beforehand."""
        aware = any(cell.aware for cell in self.cells.values())
        return f"{self.group.method} (task-aware)" if aware else self.group.method


@dataclass(frozen=True)
class SpaceLines:
    """All methods of a table, with what they share. `k` is the one of stages, curves and what was found."""

    table: Table
    lines: tuple[SpaceLine, ...]
    reference: str
    splits: tuple[str, ...]
    directions: tuple[str, ...]
    main: tuple[str, ...]
    k: int
    sentences: dict[tuple[str, str], str]
    """(split, direction) -> its protocol in words; with folds that of the first."""
    banks: dict[str, str]
    """Split -> what the bank of its inductive columns is; without an entry there are no such columns."""
    notes: tuple[str, ...]
    ranks: dict[str, GroupRanks]

    @property
    def aware(self) -> bool:
        """Whether any method is asked under adapters: such numbers have columns of their own."""
        return any(cell.aware for line in self.lines for cell in line.cells.values())

    @property
    def best(self) -> SpaceLine | None:
        """The line that validation ranks first; never chosen by test."""
        found: SpaceLine | None = None
        for line in self.lines:
            if line.val is None:
                continue
            if found is None or found.val is None or better(line.val, found.val, self.table.metric):
                found = line
        return found


def reference_of(table: Table) -> str:
    """What the others are compared with: joint training where there is one, else the first method of one stage."""
    names = [group.method for group in table.groups]
    single = [group.method for group in table.groups if len(stages_of(group)) == 1]
    return next((name for name in names if name.casefold() == REFERENCE), (single or names)[0])


def build_space_lines(table: Table) -> SpaceLines:
    """Returns the lines of a table of one protocol, with intervals where ranks lie beside the records."""
    reference, splits, main = reference_of(table), splits_of(table), main_of(table)
    ranks = {group.method: GroupRanks(group) for group in table.groups}
    notes = [
        f"No interval for {name}: the ranks of some of its runs are not beside their records."
        for name, found in ranks.items()
        if not found.complete
    ]
    against = next(group for group in table.groups if group.method == reference)
    lines = []
    for group in table.groups:
        cells = {
            (split, direction): _cell(group, against, split, direction, ranks, notes)
            for split in splits
            for direction in main
        }
        lines.append(_line(group, cells))
    return SpaceLines(
        table,
        tuple(lines),
        reference,
        splits,
        directions_of(table),
        main,
        recall_k(table),
        _sentences(table, splits, main),
        {split: words for split in splits if (words := bank_sentence(table, split, main)) is not None},
        tuple(dict.fromkeys(notes)),
        ranks,
    )


def _line(group: Group, cells: dict[tuple[str, str], Cell]) -> SpaceLine:
    records = [run.record for run in group.runs]
    return SpaceLine(
        group,
        selection_stat(group),
        cells,
        float(np.mean([record.trainable_parameters for record in records])),
        float(np.mean([sum(s.seconds for s in record.stages) or record.seconds for record in records])),
        max(record.peak_memory_mib for record in records),
    )


def _cell(
    group: Group, against: Group, split: str, direction: str, ranks: dict[str, GroupRanks], notes: list[str]
) -> Cell:
    stage = last_stage(group)
    stats = {name: space_stat(group, stage, split, direction, name) for name in METRICS}
    known = {name: stat for name, stat in stats.items() if stat is not None}
    published = {name: published_number(group, split, direction, name) for name in METRICS}
    own = ranks[group.method].of(stage, split, direction)
    intervals, differences = dict[int, Interval](), dict[int, Difference]()
    if own is not None:
        ks = tuple(k for k in KS if f"R@{k}" in known)
        intervals = _intervals(own, ks)
        other = ranks[against.method].of(last_stage(against), split, direction)
        if ks and other is not None and group.method != against.method:
            differences = _differences(group.method, own, other, ks, notes)
    banked = {name: bank_stat(group, split, direction, name) for name in METRICS}
    bank_known = {name: stat for name, stat in banked.items() if stat is not None}
    plain = {name: space_stat(group, stage, split, direction, name, agnostic=True) for name in METRICS}
    return Cell(
        known,
        bank_known,
        intervals,
        differences,
        {n: value for n, value in published.items() if value is not None},
        is_aware(group, stage, direction),
        {name: stat for name, stat in plain.items() if stat is not None},
    )


def _intervals(own: Joined, ks: tuple[int, ...]) -> dict[int, Interval]:
    scored = [recall_scores(own.tables, k, own.gallery) for k in ks]
    if not scored:
        return {}
    found = bootstrap_function([one.hits for one in scored], lambda means: means, scored[0].groups)
    return dict(zip(ks, found, strict=True))


def _differences(name: str, own: Joined, other: Joined, ks: tuple[int, ...], notes: list[str]) -> dict[int, Difference]:
    try:
        found, left_out = compare_recalls(own.tables, other.tables, ks, max(own.gallery, other.gallery))
    except ValueError as error:
        notes.append(f"{name} is not compared with the reference. {error}")
        return {}
    if left_out:
        notes.append(f"{name} against the reference: {left_out} queries that only some runs asked are left out.")
    return found


def _sentences(table: Table, splits: tuple[str, ...], main: tuple[str, ...]) -> dict[tuple[str, str], str]:
    found = {}
    run = table.groups[0].runs[0]
    for split in splits:
        for direction in main:
            protocol = protocol_of(run, split, direction)
            if protocol is not None:
                found[split, direction] = protocol.sentence
    return found
