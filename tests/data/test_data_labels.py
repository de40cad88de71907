"""Labels become classes and targets, and what cannot is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from awase.config import DataConfig
from awase.data.labels import make_targets, read_labels, resolve_classes, task_of
from awase.data.table import Table


def table(**columns: list[Any]) -> Table:
    count = len(next(iter(columns.values())))
    return Table(columns, (Path(),) * count, (None,) * count)


def splits(train: list[int], val: list[int], test: list[int]) -> dict[str, np.ndarray]:
    return {name: np.array(rows, dtype=np.int64) for name, rows in (("train", train), ("val", val), ("test", test))}


def test_one_column_gives_one_name_per_row() -> None:
    assert read_labels(table(label=[" b ", 3, 3.0, True, 2.5]), DataConfig()) == (
        ("b",),
        ("3",),
        ("3",),
        ("1",),
        ("2.5",),
    )


def test_a_separator_gives_several_names_once_each() -> None:
    config = DataConfig(label=("genre",), label_separator="|")
    assert task_of(config) == "multi_label"
    assert read_labels(table(genre=["b| a|b", None, "a"]), config) == (("b", "a"), (), ("a",))


def test_flags_and_lists_are_several_labels() -> None:
    flags = DataConfig(label=("red", "round"))
    assert task_of(flags) == "multi_label"
    assert read_labels(table(red=["1", "0", 1], round=[1.0, "0", False]), flags) == (("red", "round"), (), ("red",))
    lists = DataConfig(task="multi_label")
    assert read_labels(table(label=[["a", "b"], [], ["b"]]), lists) == (("a", "b"), (), ("b",))


def test_a_flag_that_is_neither_is_named() -> None:
    with pytest.raises(ValueError, match=r"Row 2 has 'maybe' in the label column 'round'"):
        read_labels(table(red=[1, 1], round=[0, "maybe"]), DataConfig(label=("red", "round")))


def test_single_labels_must_be_there_and_be_single() -> None:
    with pytest.raises(ValueError, match=r"2 rows have no label in column 'label' \(rows 1, 3\)"):
        read_labels(table(label=[None, "a", None]), DataConfig())
    with pytest.raises(ValueError, match=r"Row 1 has several labels.*multi_label"):
        read_labels(table(label=[["a", "b"]]), DataConfig())


def test_classes_are_the_sorted_training_labels() -> None:
    rows = splits([0, 1, 2], [3], [4])
    assert resolve_classes([("b",), ("a",), ("c",), ("a",), ("b",)], rows, None) == ("a", "b", "c")
    assert resolve_classes([("10",), ("9",), ("2",), ("9",), ("10",)], rows, None) == ("2", "9", "10")
    assert resolve_classes([("b",), ("a",), ("a",), ("a",), ("b",)], rows, ("b", "a", "z")) == ("b", "a", "z")


@pytest.mark.parametrize(("split", "rows"), [("val", ([0, 1], [2], [0])), ("test", ([0, 1], [0], [2]))])
def test_a_class_outside_train_is_an_error(split: str, rows: tuple[list[int], list[int], list[int]]) -> None:
    with pytest.raises(ValueError, match=f"1 classes are in {split} but in no training row: 'new'"):
        resolve_classes([("a",), ("b",), ("new",)], splits(*rows), None)


def test_a_label_outside_the_set_and_a_single_class_are_errors() -> None:
    with pytest.raises(ValueError, match=r"'b' are labels outside data.classes, which allows 'a', 'c'"):
        resolve_classes([("a",), ("b",)], splits([0, 1], [0], [0]), ("a", "c"))
    with pytest.raises(ValueError, match=r"1 class .'a'.; at least 2"):
        resolve_classes([("a",), ("a",)], splits([0], [1], [1]), None)


def test_targets_are_indices_or_indicators() -> None:
    single = make_targets([("b",), ("a",), ("gone",)], ("a", "b"), "single_label")
    assert single.dtype == np.int64
    assert single.tolist() == [1, 0, -1]
    several = make_targets([("b", "a"), (), ("gone", "b")], ("a", "b"), "multi_label")
    assert several.dtype == np.float32
    assert several.tolist() == [[1, 1], [0, 0], [0, 1]]
