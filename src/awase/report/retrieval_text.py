"""The tables of retrieval runs in words, for Markdown and LaTeX."""

from awase.report import numbers
from awase.report.cautions import cautions
from awase.report.groups import Table
from awase.report.plain import Plain
from awase.report.retrieval_bank import bank_sentence
from awase.report.retrieval_lines import AWARE, SpaceLine, SpaceLines, build_space_lines
from awase.report.retrieval_numbers import METRICS
from awase.report.retrieval_policies import policy_of
from awase.report.retrieval_stages import Staged, staged_methods


def retrieval_tables(table: Table) -> list[Plain]:
    """The tables of runs of one protocol: a main one per direction and test set, and one per set about stages.

    Warnings stand below the first.
    """
    found = build_space_lines(table)
    parts = [_main(found, split, direction) for split in found.splits for direction in found.main]
    parts += [part for split in found.splits for part in _staged(found, split)]
    notes = (*found.notes, *cautions(table))
    return [
        Plain(one.title, one.titles, one.rows, one.notes if k else (*one.notes, *notes)) for k, one in enumerate(parts)
    ]


def _main(found: SpaceLines, split: str, direction: str) -> Plain:
    shown = f"R@{found.k}"
    titles = ["method"]
    for words in (", task-aware", ", task-agnostic") if found.aware else ("",):
        for name in METRICS:
            titles += [f"{numbers.header(name)}{words}", *([f"95 % interval{words}"] if name == shown else [])]
    titles += [f"{shown}: difference to {found.reference}", "published", "seeds", "folds"]
    kinds = (True, False) if found.aware else (None,)
    rows = [_cells(line, split, direction, found.k, kinds) for line in found.lines]
    sentence, bank = found.sentences.get((split, direction)), bank_sentence(found.table, split, [direction])
    if bank is not None:
        titles += [f"{numbers.header(name)}, inductive" for name in METRICS]
        rows = [(*row, *_banked(line, split, direction)) for row, line in zip(rows, found.lines, strict=True)]
    notes = [*([] if sentence is None else [f"Protocol. {sentence}"]), *([] if bank is None else [bank])]
    notes += [AWARE] if found.aware else []
    return Plain(_title(found, f"{split}, {direction}"), tuple(titles), tuple(rows), tuple(notes))


def _banked(line: SpaceLine, split: str, direction: str) -> tuple[str, ...]:
    cell = line.cells[split, direction]
    return tuple(numbers.stat(cell.banked.get(name), name) for name in METRICS)


def _cells(line: SpaceLine, split: str, direction: str, k: int, kinds: tuple[bool | None, ...]) -> tuple[str, ...]:
    """A row; `kinds`: task-aware or not per group of columns, None where all are of one kind."""
    cell, shown = line.cells[split, direction], f"R@{k}"
    found = [line.group.method]
    for aware in kinds:
        own = aware in (None, cell.aware)
        stats = cell.stats if own else {} if aware else cell.agnostic
        for name in METRICS:
            found.append(numbers.stat(stats.get(name), name))
            found += [numbers.interval(cell.intervals.get(k) if own else None, shown)] if name == shown else []
    published = " / ".join(numbers.value(cell.published.get(name), name) for name in METRICS)
    found += [
        numbers.difference(cell.differences.get(k), shown),
        published if cell.published else numbers.NONE,
        str(len(line.group.seeds)),
        str(len(line.group.folds)),
    ]
    return tuple(found)


def _staged(found: SpaceLines, split: str) -> list[Plain]:
    staged = staged_methods(found, split)
    if not staged:
        return []
    titles = ("method", "policy", "direction", *(f"R[{k}]" for k in range(max(len(one.stages) for one in staged))))
    titles += ("R*", "BWT", "F", "I", "I + F", "R* − R[N]")
    rows = tuple(_task(one, place, len(titles) - 9) for one in staged for place in range(len(one.tasks)))
    note = (
        f"R@{found.k} in %. R[i]: after stage i; R*: {found.reference}. BWT: last minus after the first stage that "
        "trains it; F: best minus last; I: R* minus best; R* − R[N] = I + F."
    )
    return [Plain(_title(found, f"{split}, stages"), titles, rows, (note,))]


def _task(one: Staged, place: int, columns: int) -> tuple[str, ...]:
    task = one.metrics.tasks[place]
    scores = [numbers.stat(row[place], "R@1") for row in one.scores]
    both = None if task.intransigence is None else task.intransigence + (task.forgetting or 0.0)
    return (
        one.group.method,
        policy_of(one.group),
        one.tasks[place],
        *scores,
        *[numbers.NONE] * (columns - len(scores)),
        numbers.stat(None if one.joint is None else one.joint[place], "R@1"),
        *(
            numbers.NONE if value is None else numbers.signed(value, "R@1")
            for value in (task.backward, task.forgetting, task.intransigence, both, task.gap)
        ),
    )


def _title(found: SpaceLines, words: str) -> str:
    return f"{found.table.experiment}: {found.table.dataset}: {words}"
