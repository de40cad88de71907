"""Splits that keep groups together: what a published split shares, and what is left when that is taken out."""

from collections.abc import Mapping, Sequence

from awase.data.datasets.built_in import generator

_ORDER = {"train": 0, "val": 1, "test": 2}


def shared_groups(splits: Sequence[str | None], groups: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the groups that are in more than one split, sorted, each with its splits; rows in no split do not count.

    >>> shared_groups(["train", "test", None, "val"], ["a", "a", "b", "b"])
    {'a': ('train', 'test')}
    """
    found: dict[str, set[str]] = {}
    for split, group in zip(splits, groups, strict=True):
        if split is not None:
            found.setdefault(group, set()).add(split)
    return {
        group: tuple(sorted(where, key=_ORDER.__getitem__)) for group, where in sorted(found.items()) if len(where) > 1
    }


def without_leaks(splits: Sequence[str | None], groups: Sequence[str]) -> tuple[str | None, ...]:
    """Returns the splits without rows whose group is also in a later one: test stays whole, then validation.

    >>> without_leaks(["train", "test", "train"], ["a", "a", "b"])
    (None, 'test', 'train')
    """
    last: dict[str, int] = {}
    for split, group in zip(splits, groups, strict=True):
        if split is not None:
            last[group] = max(last.get(group, 0), _ORDER[split])
    return tuple(
        split if split is not None and _ORDER[split] == last[group] else None
        for split, group in zip(splits, groups, strict=True)
    )


def seeded_test(classes: Mapping[str, str], fraction: float, seed: int) -> dict[str, str]:
    """Returns group -> `train` or `test`: of the groups of each class the same share is drawn for test.

    `classes` maps a group to its class. A class of two groups or more has at least one in each.
    """
    members: dict[str, list[str]] = {}
    for group, name in sorted(classes.items()):
        members.setdefault(name, []).append(group)
    splits: dict[str, str] = {}
    for name, groups in members.items():
        number = min(max(1, round(fraction * len(groups))), len(groups) - 1)
        order = generator("seeded_test", seed, name).permutation(len(groups))
        splits |= {groups[place]: "test" if turn < number else "train" for turn, place in enumerate(order.tolist())}
    return splits


def seeded_folds(groups: Sequence[str], folds: int, seed: int) -> dict[str, int]:
    """Returns group -> fold; the folds' numbers of groups differ by one at most.

    Raises `ValueError` for fewer than two folds or more folds than groups.
    """
    names = sorted(set(groups))
    if not 2 <= folds <= len(names):
        raise ValueError(f"folds = {folds} is refused; use 2 to {len(names)}, the number of groups.")
    order = generator("seeded_folds", seed).permutation(len(names))
    return {names[place]: turn % folds for turn, place in enumerate(order.tolist())}
