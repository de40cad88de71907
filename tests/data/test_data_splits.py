"""Splits come from words, folds, or a carve-out that is seeded and keeps groups and classes whole."""

from collections import Counter

import numpy as np
import pytest

from awase.config import DataConfig
from awase.data.source import Rows
from awase.data.splits import carve, resolve_splits, split_name


def rows(
    labels: list[str], splits: list[str | None], groups: list[str] | None = None, folds: list[str] | None = None
) -> Rows:
    return Rows(
        tuple(f"r{i}" for i in range(len(labels))),
        tuple((label,) for label in labels),
        tuple(splits),
        None if groups is None else tuple(groups),
        None if folds is None else tuple(folds),
    )


def test_synonyms_are_understood_and_others_listed() -> None:
    words = ("train", " Training", "VAL", "valid", "validation", "validate", "dev", "test", "testing")
    assert [split_name(word) for word in words] == ["train"] * 2 + ["val"] * 5 + ["test"] * 2
    with pytest.raises(ValueError, match=r"'holdout' is not a split; use one of train, training, val,.* test"):
        split_name("holdout")


def test_given_splits_are_kept_and_rows_without_one_counted() -> None:
    made = resolve_splits(rows(list("abcab"), ["train", "val", None, "test", "train"]), DataConfig())
    assert {name: list(value) for name, value in made.rows.items()} == {"train": [0, 4], "val": [1], "test": [3]}
    assert made.validation == {"made": "given"}
    assert made.unassigned == (2,)


@pytest.mark.parametrize("missing", ["train", "test"])
def test_an_empty_split_is_an_error(missing: str) -> None:
    other = {"train": "test", "test": "train"}[missing]
    with pytest.raises(ValueError, match=f"The split '{missing}' is empty .*'{other}': 2"):
        resolve_splits(rows(list("ab"), [other, other]), DataConfig())


def test_a_fold_is_the_test_and_must_exist() -> None:
    table = rows(list("ab") * 15, [None] * 30, folds=[str(i % 3) for i in range(30)])
    made = resolve_splits(table, DataConfig(fold_column="fold", fold=1))
    assert made.rows["test"].tolist() == list(range(1, 30, 3))
    assert sorted([*made.rows["train"], *made.rows["val"]]) == [i for i in range(30) if i % 3 != 1]
    assert made.validation["made"] == "carved"
    with pytest.raises(ValueError, match=r"Fold 7 does not occur; the folds are 0, 1, 2"):
        resolve_splits(table, DataConfig(fold_column="fold", fold=7))
    with pytest.raises(ValueError, match=r"no folds; name their column in data.fold_column"):
        resolve_splits(rows(list("ab"), ["train", "test"]), DataConfig(fold=0))


def test_carving_takes_each_class_its_share() -> None:
    table = rows(["a"] * 31 + ["b"] * 17 + ["c"] * 8, ["train"] * 56)
    train, val = carve(table, np.arange(56), 0.25, seed=3)
    counts = Counter(table.labels[row][0] for row in val)
    assert all(abs(counts[name] - 0.25 * size) <= 1 for name, size in (("a", 31), ("b", 17), ("c", 8)))
    assert len(val) == 14
    assert sorted([*train, *val]) == list(range(56))


def test_carving_depends_on_the_seed_alone() -> None:
    table = rows(["a", "b"] * 29, ["train"] * 58)
    first, again, other = (carve(table, np.arange(58), 0.2, seed)[1].tolist() for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_carving_keeps_groups_whole() -> None:
    groups = [f"g{i // 5}" for i in range(65)]
    table = rows([("a", "b")[i % 2] for i in range(65)], ["train"] * 65, groups)
    train, val = carve(table, np.arange(65), 0.2, seed=1)
    assert not {groups[row] for row in train} & {groups[row] for row in val}
    assert abs(len(val) - 13) <= 2.5


def test_no_class_loses_its_last_training_row() -> None:
    table = rows(["a"] * 7 + ["b"] * 7 + ["once"], ["train"] * 15)
    for seed in range(20):
        train, _ = carve(table, np.arange(15), 0.4, seed)
        assert {table.labels[row][0] for row in train} == {"a", "b", "once"}
    grouped = rows(["a", "a", "b", "b"], ["train"] * 4, ["g", "g", "h", "h"])
    with pytest.raises(ValueError, match=r"No validation rows can be carved out of 4 training rows"):
        carve(grouped, np.arange(4), 0.4, 0)


def test_many_small_classes_still_give_the_share() -> None:
    table = rows([f"c{i // 3}" for i in range(60)], ["train"] * 60)
    assert len(carve(table, np.arange(60), 0.15, seed=0)[1]) == 9
