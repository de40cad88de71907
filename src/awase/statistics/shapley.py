"""Shapley values as weights of the values of all subsets.

Shapley (1953), "A value for n-person games".
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import factorial

Subset = frozenset[str]
Weights = dict[Subset, float]


def subsets(names: Iterable[str]) -> tuple[Subset, ...]:
    """All subsets, the empty one first, by size and then in the order of the names."""
    ordered = sorted(names)
    return tuple(frozenset(chosen) for size in range(len(ordered) + 1) for chosen in combinations(ordered, size))


def shapley_weights(names: Sequence[str]) -> dict[str, Weights]:
    """Name -> subset -> weight w with phi_m = sum_S w(S) v(S).

    phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)): the mean gain from m over all orders in
    which the M names can be added.
    """
    total = factorial(len(names))
    found: dict[str, Weights] = {}
    for name in names:
        weights = dict.fromkeys(subsets(names), 0.0)
        for subset in subsets(other for other in names if other != name):
            share = factorial(len(subset)) * factorial(len(names) - len(subset) - 1) / total
            weights[subset | {name}] += share
            weights[subset] -= share
        found[name] = weights
    return found
