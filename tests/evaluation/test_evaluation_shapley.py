"""Shapley values against their definition over all orders, and the axioms."""

from itertools import permutations

import numpy as np
import pytest

from awase.evaluation.shapley import interaction_weights, shapley_values
from awase.statistics import subsets

NAMES = ("video", "audio", "text", "flow")


def game(number: int, seed: int = 0) -> dict[frozenset[str], float]:
    random = np.random.default_rng([seed, number])
    return {subset: float(random.normal()) for subset in subsets(NAMES[:number])}


def by_orders(values: dict[frozenset[str], float], names: tuple[str, ...]) -> dict[str, float]:
    """The mean, over every order of arrival, of what each one adds when it arrives."""
    total = dict.fromkeys(names, 0.0)
    orders = list(permutations(names))
    for order in orders:
        here: frozenset[str] = frozenset()
        for name in order:
            total[name] += values[here | {name}] - values[here]
            here = here | {name}
    return {name: value / len(orders) for name, value in total.items()}


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_values_are_means_over_all_orders_and_sum_to_the_whole(number):
    names, values = NAMES[:number], game(number)
    found = shapley_values(values)
    assert found == pytest.approx(by_orders(values, names))
    assert sum(found.values()) == pytest.approx(values[frozenset(names)] - values[frozenset()])


def test_one_that_adds_nothing_has_none_and_equals_have_equal_values():
    values = {subset: float(len(subset - {"audio"}) ** 2) for subset in subsets(NAMES[:3])}
    found = shapley_values(values)
    assert found["audio"] == pytest.approx(0)
    assert found["video"] == pytest.approx(found["text"]) == pytest.approx(2)


def test_interactions_see_synergy_redundancy_and_neither():
    a, b, both = frozenset({"audio"}), frozenset({"video"}), frozenset({"audio", "video"})

    def interaction(alone: float, together: float) -> float:
        values = {frozenset(): 0.0, a: alone, b: alone, both: together}
        weights = interaction_weights(("video", "audio"))["audio", "video"]
        return sum(weight * values[subset] for subset, weight in weights.items())

    assert interaction(0.0, 1.0) == 1
    assert interaction(1.0, 1.0) == -1
    assert interaction(0.5, 1.0) == 0


@pytest.mark.parametrize("number", [3, 4])
def test_an_interaction_is_what_changes_in_the_shapley_value_of_one_when_the_other_joins(number):
    names, values = NAMES[:number], game(number, seed=1)
    for (a, b), weights in interaction_weights(names).items():
        with_b = {subset: values[subset | {b}] for subset in subsets([n for n in names if n != b])}
        without_b = {subset: values[subset] for subset in with_b}
        expected = shapley_values(with_b)[a] - shapley_values(without_b)[a]
        assert sum(weight * values[subset] for subset, weight in weights.items()) == pytest.approx(expected)


def test_more_than_four_and_missing_subsets_are_refused():
    five = (*NAMES, "depth")
    with pytest.raises(ValueError, match=r"up to 4; these are 5: .*depth"):
        shapley_values(dict.fromkeys(subsets(five), 0.0))
    with pytest.raises(ValueError, match="up to 4"):
        interaction_weights(five)
    incomplete = game(2)
    del incomplete[frozenset({"audio"})]
    with pytest.raises(ValueError, match=r"\['audio'\] is missing"):
        shapley_values(incomplete)
