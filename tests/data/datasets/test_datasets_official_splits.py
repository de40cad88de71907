"""Groups that are in two splits, and splits drawn by group."""

from collections import Counter

import pytest

from awase.data.datasets.official_splits import seeded_folds, seeded_test, shared_groups, without_leaks

SPLITS = ["train", "val", "test", "train", None, "val", "train", "test"]
GROUPS = ["a", "a", "b", "b", "b", "c", "d", "c"]


def test_shared_groups_against_the_definition():
    pairs = {(group, split) for group, split in zip(GROUPS, SPLITS, strict=True) if split is not None}
    several = {group for group in GROUPS if sum(pair[0] == group for pair in pairs) > 1}
    shared = shared_groups(SPLITS, GROUPS)
    assert set(shared) == several == {"a", "b", "c"}
    assert shared == {"a": ("train", "val"), "b": ("train", "test"), "c": ("val", "test")}


def test_without_leaks_keeps_test_whole_and_shares_nothing():
    honest = without_leaks(SPLITS, GROUPS)
    assert honest == (None, "val", "test", None, None, None, "train", "test")
    assert shared_groups(honest, GROUPS) == {}
    assert without_leaks([], []) == ()
    assert without_leaks([None, None], ["a", "a"]) == (None, None)


def test_the_seeded_test_has_its_share_of_every_class():
    classes = {f"g{number:03d}": ("x", "y")[number < 13] for number in range(37)} | {"lone": "z"}
    drawn = seeded_test(classes, 0.25, seed=3)
    counts = Counter((classes[group], split) for group, split in drawn.items())
    assert counts == {
        ("y", "test"): 3,
        ("y", "train"): 10,
        ("x", "test"): 6,
        ("x", "train"): 18,
        ("z", "train"): 1,
    }
    assert drawn == seeded_test(dict(reversed(classes.items())), 0.25, seed=3)
    assert drawn != seeded_test(classes, 0.25, seed=4)
    assert Counter(seeded_test({"a": "x", "b": "x"}, 0.01, seed=0).values()) == {"test": 1, "train": 1}


def test_folds_are_even_and_depend_on_the_seed_alone():
    groups = [f"s{number}" for number in range(17)]
    folds = seeded_folds(groups, 5, seed=0)
    assert sorted(Counter(folds.values()).values()) == [3, 3, 3, 4, 4]
    assert folds == seeded_folds([*reversed(groups), "s3"], 5, seed=0)
    assert folds != seeded_folds(groups, 5, seed=1)
    for number in (1, 18):
        with pytest.raises(ValueError, match=f"folds = {number}.*2 to 17"):
            seeded_folds(groups, number, seed=0)
