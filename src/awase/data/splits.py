"""Which rows are train, validation and test: from a column, a fold, or a carve-out by group or class."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from awase.config import DataConfig
from awase.data.source import Rows

SPLITS = ("train", "val", "test")
SYNONYMS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Splits:
    """Row numbers of each split, in order, and how validation came about."""

    rows: dict[str, np.ndarray]
    validation: dict[str, Any]
    unassigned: tuple[int, ...]


def split_name(text: str) -> str:
    """`train`, `val` or `test` for a cell or key; raises `ValueError` that lists the accepted words."""
    name = SYNONYMS.get(text.strip().lower())
    if name is None:
        raise ValueError(f"{text!r} is not a split; use one of {', '.join(SYNONYMS)}.")
    return name


def resolve_splits(rows: Rows, config: DataConfig) -> Splits:
    """The rows of each split.

    With `config.fold`, test is that fold, and every other row that is not marked `val` is train. Where no row is `val`,
    it is carved out of train (`carve`) with `config.split_seed`. Rows without a split are `unassigned`. Raises
    `ValueError` for a fold that does not occur and for an empty split.
    """
    names = _by_fold(rows, config.fold) if config.fold is not None else rows.splits
    found = {split: np.array([i for i, name in enumerate(names) if name == split], dtype=np.int64) for split in SPLITS}
    for split in ("train", "test"):
        if len(found[split]) == 0:
            counts = {str(name): count for name, count in Counter(names).items()}
            raise ValueError(
                f"The split {split!r} is empty (rows per split: {counts}). Give it rows in the split column "
                "(data.split_column), or use data.split_files, or data.fold_column with data.fold."
            )
    validation: dict[str, Any] = {"made": "given"}
    if len(found["val"]) == 0:
        found["train"], found["val"] = carve(rows, found["train"], config.validation_fraction, config.split_seed)
        by: Literal["group", "class"] = "class" if rows.groups is None else "group"
        validation = {"made": "carved", "fraction": config.validation_fraction, "seed": config.split_seed, "by": by}
    return Splits(found, validation, tuple(i for i, name in enumerate(names) if name is None))


def _by_fold(rows: Rows, fold: int) -> tuple[str | None, ...]:
    if rows.folds is None:
        raise ValueError(f"data.fold is {fold} but the data has no folds; name their column in data.fold_column.")
    if str(fold) not in rows.folds:
        raise ValueError(f"Fold {fold} does not occur; the folds are {', '.join(sorted(set(rows.folds)))}.")
    kept = tuple("val" if split == "val" else "train" for split in rows.splits)
    return tuple("test" if name == str(fold) else split for name, split in zip(rows.folds, kept, strict=True))


def carve(rows: Rows, train: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training rows in two parts: train and validation, of about `fraction`, drawn with `seed`.

    Whole groups where there are groups; otherwise of each class (each combination of labels) its share, to within a
    row. No class loses its last training row. Raises `ValueError` where that leaves no validation row.
    """
    generator = np.random.default_rng(np.random.SeedSequence([seed, 0x5917]))
    shuffled = train[generator.permutation(len(train))]
    chosen = (
        _carve_groups(rows, shuffled, fraction) if rows.groups is not None else _carve_classes(rows, shuffled, fraction)
    )
    if not chosen:
        raise ValueError(
            f"No validation rows can be carved out of {len(train)} training rows without taking a class or group "
            "away from train; mark some rows 'val' in the split column."
        )
    val = np.array(sorted(chosen), dtype=np.int64)
    return np.setdiff1d(train, val), val


class _Left:
    """How many training rows of each class are left."""

    def __init__(self, rows: Rows, train: np.ndarray) -> None:
        self.labels = rows.labels
        self.counts = Counter(name for row in train for name in rows.labels[row])

    def take(self, members: Sequence[int]) -> bool:
        """Takes the rows away if every class keeps one."""
        wanted = Counter(name for row in members for name in self.labels[row])
        if any(self.counts[name] <= count for name, count in wanted.items()):
            return False
        self.counts -= wanted
        return True


def _carve_groups(rows: Rows, shuffled: np.ndarray, fraction: float) -> list[int]:
    assert rows.groups is not None
    members: dict[str, list[int]] = {}
    for row in shuffled.tolist():
        members.setdefault(rows.groups[row], []).append(row)
    left, target, chosen = _Left(rows, shuffled), fraction * len(shuffled), list[int]()
    for group in members.values():
        # A group is taken when that brings the share nearer to the target; the first is taken in any case.
        nearer = abs(len(chosen) + len(group) - target) < abs(len(chosen) - target)
        if (nearer or not chosen) and left.take(group):
            chosen += group
    return chosen


def _carve_classes(rows: Rows, shuffled: np.ndarray, fraction: float) -> list[int]:
    strata: dict[tuple[str, ...], list[int]] = {}
    for row in shuffled.tolist():
        strata.setdefault(tuple(sorted(rows.labels[row])), []).append(row)
    left, chosen = _Left(rows, shuffled), list[int]()
    # Shares of small strata are carried over, so that the total is right even where each has a row or two.
    owed = 0.0
    for _, stratum in sorted(strata.items()):
        owed += fraction * len(stratum)
        for row in stratum[: max(0, round(owed))]:
            if left.take([row]):
                chosen.append(row)
                owed -= 1
    return chosen or [row for row in shuffled.tolist()[:1] if left.take([row])]
