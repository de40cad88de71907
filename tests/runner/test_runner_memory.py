"""The bounded memory of features: what it keeps, what it drops, and when it asks again."""

import torch

from awase.runner.memory import FeatureMemory


def rows(count: int, value: float) -> torch.Tensor:
    return torch.full((count, 3), value)  # 12 bytes a row


def test_a_table_is_made_once_and_shared():
    memory, made = FeatureMemory(limit=120), []

    def make():
        made.append(1)
        return rows(2, 5.0)

    first = memory.table("a", make)
    assert memory.table("a", make) is first
    assert len(made) == 1
    assert memory.num_bytes == 24


def test_the_one_that_was_not_used_for_longest_goes_first():
    memory = FeatureMemory(limit=72)
    for key in ("a", "b", "c"):
        memory.table(key, lambda: rows(2, 1.0))
    memory.table("a", lambda: rows(2, 7.0))
    memory.table("d", lambda: rows(2, 1.0))
    assert memory.num_bytes == 72
    assert memory.table("a", lambda: rows(2, 7.0))[0, 0] == 1
    assert memory.table("b", lambda: rows(2, 7.0))[0, 0] == 7


def test_a_table_above_the_limit_is_given_and_not_kept():
    memory = FeatureMemory(limit=35)
    memory.table("small", lambda: rows(1, 1.0))
    assert memory.table("large", lambda: rows(3, 2.0)).shape == (3, 3)
    assert memory.num_bytes == 12
    assert memory.table("small", lambda: rows(1, 9.0))[0, 0] == 1
    assert memory.table("large", lambda: rows(3, 4.0))[0, 0] == 4
