"""The retrieval numbers of a method from its records: by stage, split and direction, over seeds."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from awase.records import Record, RetrievalRecord, SpaceNumber
from awase.report.groups import Group, Stat, Table, is_rank, stat_of
from awase.report.load import Run
from awase.statistics import RetrievalProtocol, gallery_of, is_pair, main_directions, query_of

KS = (1, 5, 10)
METRICS = (*(f"R@{k}" for k in KS), "MedR")


def retrieval_of(record: Record) -> RetrievalRecord:
    """The retrieval part, which a table of retrieval runs has in every record."""
    assert record.retrieval is not None, "the table is about retrieval"
    return record.retrieval


def stages_of(group: Group) -> tuple[str, ...]:
    """The stages in their order."""
    return tuple(retrieval_of(group.runs[0].record).pairs)


def last_stage(group: Group) -> str:
    """The stage whose numbers are the method's."""
    return stages_of(group)[-1]


def splits_of(table: Table) -> tuple[str, ...]:
    """What was tested on: every split but validation."""
    numbers = (number for group in table.groups for number in numbers_of(group))
    return tuple(dict.fromkeys(number.split for number in numbers if number.split.partition(" ")[0] != "val"))


def numbers_of(group: Group) -> Iterable[SpaceNumber]:
    """Every number of every run."""
    return (number for run in group.runs for number in retrieval_of(run.record).numbers)


def directions_of(table: Table) -> tuple[str, ...]:
    """All directions: single pairs first."""
    found = dict.fromkeys(number.direction for group in table.groups for number in numbers_of(group))
    return tuple(sorted(found, key=lambda one: not is_pair(one)))


def main_of(table: Table) -> tuple[str, ...]:
    """The directions of the main table."""
    return main_directions(directions_of(table), _asking(table.groups[0].runs[0].record))


def _asking(record: Record) -> str | None:
    """The modality that asks: a text."""
    experiment: Any = record.config.get("experiment")
    data = experiment.get("data") if isinstance(experiment, dict) else None
    inputs = (data.get("inputs") if isinstance(data, dict) else None) or {}
    return next((name for name, one in inputs.items() if one.get("kind") == "text"), "text")


def space_stat(
    group: Group,
    stage: str,
    split: str,
    direction: str,
    metric: str,
    *,
    same_caption: bool = False,
    agnostic: bool = False,
) -> Stat | None:
    """One number over seeds, folds averaged within a seed; None where no run has it.

    With `same_caption` every item with the query's text is right; None where that changes nothing in any run. With
    `agnostic` those that adapters' numbers have in the shared space.
    """
    found: dict[int, list[float]] = defaultdict(list)
    differs = False
    for run in group.runs:
        record = retrieval_of(run.record)
        for number in record.agnostic if agnostic else record.numbers:
            if (number.stage, number.split, number.direction) != (stage, split, direction):
                continue
            differs |= bool(number.metrics_same)
            values = (number.metrics_same or number.metrics) if same_caption else number.metrics
            if metric in values:
                found[run.record.seed].append(values[metric])
    if same_caption and not differs:
        return None
    return stat_of({seed: float(np.mean(values)) for seed, values in sorted(found.items())})


def is_trained(group: Group, stage: str, direction: str, split: str | None = None) -> bool:
    """Whether every pair in a direction was drawn together by this stage or one that it began from.

    Of a stream on the data set of `split`; None: on any.
    """
    return any(
        n.trained
        for n in numbers_of(group)
        if (n.stage, n.direction) == (stage, direction) and split in (None, n.split)
    )


def is_aware(group: Group, stage: str, direction: str | None = None) -> bool:
    """Whether a direction (None: any) is asked under adapters of its modalities after a stage."""
    return any(n.under is not None for n in numbers_of(group) if n.stage == stage and direction in (None, n.direction))


def selection_stat(group: Group) -> Stat | None:
    """What validation chose by: a mean over directed pairs, or one direction (`R@1 text->video`)."""
    metric, _, direction = group.metric.partition(" ")
    return group.stat("val", metric, direction or "full")


def better(a: Stat, b: Stat, metric: str) -> bool:
    """Whether a is better than b; ranks and losses are better when lower."""
    return a.mean < b.mean if is_rank(metric) or metric == "loss" else a.mean > b.mean


def recall_k(table: Table) -> int:
    """The k of the tables of stages and of the curves: the one that validation chose by, else 1."""
    name = table.metric.partition(" ")[0]
    return int(name.removeprefix("R@")) if name.startswith("R@") else 1


def published_number(group: Group, split: str, direction: str, metric: str) -> float | None:
    """The published value, R@k as a share: of `<split> <metric> <direction>`, or `<split> <metric>` for text to all.

    Published shares are in percent where any of them is above 1.
    """
    found = next((run.record.published for run in group.runs if isinstance(run.record.published, dict)), None)
    if found is None:
        return None
    whole = query_of(direction) == "text" and len(gallery_of(direction)) > 1
    names = (f"{split} {metric} {direction}", *([f"{split} {metric}"] if whole else []))
    value = next((found[name] for name in names if name in found), None)
    percent = any(one > 1 for name, one in found.items() if not is_rank(name))
    return value / 100 if value is not None and percent and not is_rank(metric) else value


# ---- protocols ------------------------------------------------------------------------------------------------------


def protocol_of(run: Run, split: str, direction: str) -> RetrievalProtocol | None:
    """The protocol of the last stage's number; None where there is none."""
    record = retrieval_of(run.record)
    last = tuple(record.pairs)[-1]
    for number in record.numbers:
        if (number.stage, number.split, number.direction) == (last, split, direction):
            return RetrievalProtocol.from_dict(number.protocol)
    return None


Column = tuple[str, str]
Protocols = dict[Column, RetrievalProtocol]


def by_protocol(table: Table) -> tuple[Table, ...]:
    """The table, or one for each protocol under which its main directions were measured, with what differs in words.

    A run that lacks a direction stands with any. The folds of a data set have galleries of their own sizes, so sizes
    are compared where there is one split.
    """
    columns = [(split, direction) for split in splits_of(table) for direction in main_of(table)]
    variants: list[tuple[Protocols, dict[str, list[Run]]]] = []
    for group in table.groups:
        for run in group.runs:
            own = _protocols(run, columns)
            fits = next((one for one in variants if _agree(one[0], own)), None)
            if fits is None:
                fits = ({}, {})
                variants.append(fits)
            fits[0].update(own)
            fits[1].setdefault(group.method, []).append(run)
    if len(variants) == 1:
        return (table,)
    every = [known for known, _ in variants]
    return tuple(
        Table(
            table.experiment,
            f"{table.dataset} ({_words(known, every)})",
            tuple(Group(method, tuple(runs)) for method, runs in members.items()),
        )
        for known, members in variants
    )


def _agree(known: Protocols, own: Protocols) -> bool:
    """Whether two runs may share columns: equal protocols of the directions that both have."""
    return all(known.get(column, protocol) == protocol for column, protocol in own.items())


def _protocols(run: Run, columns: list[Column]) -> Protocols:
    found = {}
    for split, direction in columns:
        protocol = protocol_of(run, split, direction)
        if protocol is not None:
            of_fold = run.record.fold is not None
            found[split, direction] = _of_any_fold(protocol) if of_fold else protocol
    return found


def _of_any_fold(protocol: RetrievalProtocol) -> RetrievalProtocol:
    """Without what is a fold's own: its samples and their number."""
    names = {name: getattr(protocol, name).partition(" [")[0] for name in ("queries", "gallery")}
    return replace(protocol, **names, num_queries=0, gallery_size=0, missing_queries=0, missing_items=0)


def _words(own: Protocols, every: list[Protocols]) -> str:
    """The fields in which the protocols differ, with the values of this one."""
    found: dict[str, None] = {}
    for column, protocol in own.items():
        others = [known[column] for known in every if column in known]
        for name in dict.fromkeys(name for other in others for name in protocol.differences(other)):
            found[f"{name.replace('_', ' ')} {getattr(protocol, name)}"] = None
    return ", ".join(found)
