"""What each modality contributes to a value: Shapley values and interactions over all subsets, exactly.

Shapley (1953), "A value for n-person games"; the interaction index is that of Grabisch and Roubens (1999). Both are
linear in the values of the subsets, so they are given as weights: the same weights turn bootstrap draws of the subsets'
values into draws of the contributions.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

from awase.statistics.shapley import Subset, Weights, shapley_weights, subsets

MAX_MODALITIES = 4
"""Sixteen subsets; every further modality doubles the passes over the data."""


def shapley_values(values: Mapping[Subset, float]) -> dict[str, float]:
    """Modality -> its Shapley value, from the value of every subset; they sum to v(all) - v(nothing).

    Example: v({}) = 0, v({a}) = v({b}) = 1, v({a, b}) = 4 gives 2 and 2. Raises `ValueError` where a subset is missing
    and for more than four modalities.
    """
    names = sorted(frozenset().union(*values))
    _check(names)
    missing = [sorted(subset) for subset in subsets(names) if subset not in values]
    if missing:
        raise ValueError(f"Shapley values need the value of every subset; {missing[0]} is missing.")
    return {
        name: sum(weight * values[subset] for subset, weight in weights.items())
        for name, weights in shapley_weights(names).items()
    }


def interaction_weights(modalities: Sequence[str]) -> dict[tuple[str, str], Weights]:
    """Pair -> subset -> weight of the interaction index I_ab = sum_S w(S) v(S), for every pair in sorted order.

    I_ab = sum over S without a and b of |S|! (M - |S| - 2)! / (M - 1)! (v(S + ab) - v(S + a) - v(S + b) + v(S)): above
    zero where the two tell more together than each for itself (synergy), below where they tell the same (redundancy).
    Raises `ValueError` for more than four modalities.
    """
    _check(modalities)
    names, total = sorted(modalities), factorial(max(len(modalities) - 1, 0))
    found: dict[tuple[str, str], Weights] = {}
    for a, b in combinations(names, 2):
        weights = dict.fromkeys(subsets(names), 0.0)
        for subset in subsets([name for name in names if name not in (a, b)]):
            share = factorial(len(subset)) * factorial(len(names) - len(subset) - 2) / total
            for more, sign in (({a, b}, 1), ({a}, -1), ({b}, -1), (set(), 1)):
                weights[subset | more] += sign * share
        found[a, b] = weights
    return found


def _check(modalities: Sequence[str]) -> None:
    if len(modalities) > MAX_MODALITIES:
        raise ValueError(
            f"Exact Shapley values take every subset of the modalities and are computed for up to {MAX_MODALITIES}; "
            f"these are {len(modalities)}: {', '.join(modalities)}."
        )
