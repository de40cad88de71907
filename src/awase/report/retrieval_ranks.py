"""The ranks behind a method's retrieval numbers: of all its runs, the folds of a seed side by side."""

from dataclasses import dataclass, replace

from awase.report.groups import Group
from awase.statistics import RankTable, join_ranks


@dataclass(frozen=True)
class Joined:
    """Seed -> the ranks of one stage, split and direction; `gallery` is the size of the largest fold's gallery."""

    tables: dict[int, RankTable]
    gallery: int


class GroupRanks:
    """The ranks of the runs of one method; none at all where a run has no file of them."""

    def __init__(self, group: Group) -> None:
        tables = [run.ranks() for run in group.runs]
        self.complete = all(table is not None for table in tables)
        self._parts = [
            (run.record.seed, run.record.fold, table.parts())
            for run, table in zip(group.runs, tables, strict=True)
            if table is not None and self.complete
        ]

    def of(self, stage: str, split: str, direction: str) -> Joined | None:
        """The ranks without post-processing; None where a run has none for this."""
        found: dict[int, list[RankTable]] = {}
        gallery = 0
        for seed, fold, parts in self._parts:
            table = parts.get((stage, split, direction, "none"))
            if table is None:
                return None
            protocol = table.protocol
            gallery = max(gallery, 0 if protocol is None else protocol.gallery_size, int(table.rank.max()) + 1)
            found.setdefault(seed, []).append(_of_fold(table, fold))
        return Joined({seed: join_ranks(tables) for seed, tables in found.items()}, gallery) if found else None


def _of_fold(table: RankTable, fold: int | None) -> RankTable:
    """The ranks without their protocol, which differs between folds in its sizes; ids get the fold's number.

    A query of several folds is drawn as one in intervals, together with its group where there is one.
    """
    if fold is None:
        return replace(table, protocols={})
    return replace(
        table,
        query_id=tuple(f"{fold}/{name}" for name in table.query_id),
        item_id=tuple(f"{fold}/{name}" for name in table.item_id),
        groups=table.groups or table.query_id,
        protocols={},
    )
