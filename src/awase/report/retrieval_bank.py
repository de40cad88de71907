"""The inductive numbers of a method, with a query bank: from its records, over seeds, apart from the raw ones."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from awase.records import BankNumber
from awase.report.groups import Group, Stat, Table, stat_of
from awase.report.retrieval_numbers import retrieval_of


def bank_of(group: Group, split: str, direction: str) -> list[tuple[int, BankNumber]]:
    """The seed and the query-bank number of every run; none at all unless every run has one."""
    found = [
        (run.record.seed, number)
        for run in group.runs
        for number in retrieval_of(run.record).query_bank
        if (number.split, number.direction) == (split, direction)
    ]
    return found if len(found) == len(group.runs) else []


def bank_stat(group: Group, split: str, direction: str, metric: str) -> Stat | None:
    """The query-bank number over seeds, folds averaged within a seed; None unless every run has one."""
    found: dict[int, list[float]] = defaultdict(list)
    for seed, number in bank_of(group, split, direction):
        if metric in number.metrics:
            found[seed].append(number.metrics[metric])
    return stat_of({seed: float(np.mean(values)) for seed, values in sorted(found.items())})


def bank_sentence(table: Table, split: str, names: Iterable[str]) -> str | None:
    """What the bank of the inductive columns is, in these directions; None where no method has such numbers."""
    wanted = list(names)
    found = [one for group in table.groups for name in wanted for _, one in bank_of(group, split, name)]
    if not found:
        return None
    banks = ", ".join(dict.fromkeys(one.bank for one in found))
    sizes = sorted({one.bank_queries for one in found})
    count = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return (
        f"Inductive: static query-bank normalisation. The bank are {count} queries of {banks}, on which beta was "
        "chosen too; no query of this split was used, and nothing was chosen by these numbers."
    )
