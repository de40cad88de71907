"""Intervals by a crossed bootstrap: seeds and items are drawn anew together, items of one group as one.

A number of a table varies because another seed and because another test set would give another one. Drawing only seeds
or only items shows half of that (Owen 2007, "The pigeonhole bootstrap"). With one seed the interval covers items alone,
and with two or three the share of the seeds is known badly: both are stated beside the number, not corrected.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

DETECTABLE = 2.8
"""1.96 + 0.84 standard errors: the difference that a two-sided test at 5 % sees with 80 % power."""


@dataclass(frozen=True)
class Ratio:
    """A metric as a sum over items divided by another sum over items; micro F1 is one, a mean has ones below."""

    numerators: Shaped[np.ndarray, "seeds items"]
    denominators: Shaped[np.ndarray, "seeds items"]

    def per_seed(self) -> Float[np.ndarray, " seeds"]:
        """The metric of each seed; 0 where nothing stands below the line."""
        return _divide(self.numerators.sum(axis=1), self.denominators.sum(axis=1))


Scores = Shaped[np.ndarray, "seeds items"] | Ratio


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its bootstrap interval and standard error."""

    mean: float
    low: float
    high: float
    standard_error: float
    seeds: int
    items: int
    groups: int


@dataclass(frozen=True)
class Difference:
    """`a - b`, paired by seed and item. `share` is the two-sided share of draws on the other side of zero.

    `a_only` and `b_only` count the discordant pairs (seed, item): those that only one of the two scores higher.
    """

    difference: float
    low: float
    high: float
    standard_error: float
    share: float
    smallest_detectable: float
    a_only: int
    b_only: int
    seeds: int
    items: int
    groups: int

    @property
    def distinguishable(self) -> bool:
        """Whether zero lies outside the interval. False never means that there is no difference."""
        return self.low > 0 or self.high < 0

    @property
    def has_limit(self) -> bool:
        """Whether the smallest detectable difference means something: not where every draw gives the same."""
        return self.standard_error > 0

    @property
    def sentence(self) -> str:
        """What may be said about the two, in words; in the unit of the metric."""
        interval = f"{self.difference:+.4f}, interval [{self.low:+.4f}, {self.high:+.4f}]"
        counts = f"{self.seeds} seed{'' if self.seeds == 1 else 's'} and {self.items} items"
        unseen = f"differences under {self.smallest_detectable:.4f} cannot be seen"
        if not self.has_limit:
            unseen = "every draw gives the same, so how small a difference could be seen is not known"
        if not self.distinguishable:
            return f"Not distinguishable: {interval}; {unseen} with {counts}."
        return f"{'Higher' if self.difference > 0 else 'Lower'}: {interval}, from {counts}; {unseen}."


def bootstrap_mean(
    values: Scores,
    groups: Sequence[object] | None = None,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    generator_seed: int = 0,
) -> Interval:
    """Returns the mean over seeds of each seed's mean over items, with its percentile interval.

    `values` has a row per seed and a column per item, or is a `Ratio`; items with equal entries in `groups` are drawn
    together. With folds, the items of all folds of a seed stand side by side. Raises `ValueError` for NaN, no seeds or
    items, and groups of another length. Example: `bootstrap_mean(np.array([[1., 0.], [1., 1.]])).mean == 0.75`.
    """
    ratio = _checked(values)
    members = _members(groups, ratio.numerators.shape[1])
    draws = _draws((ratio,), members, resamples, generator_seed)[0]
    low, high = _percentiles(draws, level)
    return Interval(float(ratio.per_seed().mean()), low, high, float(draws.std(ddof=1)), *_sizes(ratio, members))


def paired_difference(
    a: Scores,
    b: Scores,
    groups: Sequence[object] | None = None,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    generator_seed: int = 0,
) -> Difference:
    """Returns the difference of two methods on the same seeds and items, every draw shared by both.

    share = min(1, (2 min(#{draw <= 0}, #{draw >= 0}) + 1) / (resamples + 1)); the smallest detectable difference is 2.8
    standard errors (80 % power at 5 %, two-sided). "No difference" does not follow from a wide interval.
    Raises `ValueError` as `bootstrap_mean` does, and where `a` and `b` have other shapes.
    Example: `paired_difference(np.array([[1., 1.]]), np.array([[1., 0.]])).difference == 0.5`.
    """
    return paired_differences([a], [b], groups, resamples=resamples, level=level, generator_seed=generator_seed)[0]


def paired_differences(
    a: Sequence[Scores],
    b: Sequence[Scores],
    groups: Sequence[object] | None = None,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    generator_seed: int = 0,
) -> tuple[Difference, ...]:
    """Returns `paired_difference` of every a with its b, several metrics of the same seeds and items (R@1, R@5, ...).

    Each is what `paired_difference` gives for it alone; all share the draws, which take most of the time. Raises
    `ValueError` as it does, and where the metrics have different shapes.
    """
    first, second = [_checked(scores) for scores in a], [_checked(scores) for scores in b]
    shapes = list(dict.fromkeys(ratio.numerators.shape for ratio in (*first, *second)))
    if len(shapes) != 1 or len(first) != len(second):
        raise ValueError(
            f"A paired difference needs the same seeds and items on both sides: "
            f"{' against '.join(map(str, shapes))} (seeds, items). Restrict both to what they share."
        )
    members = _members(groups, shapes[0][1])
    draws = _draws((*first, *second), members, resamples, generator_seed)
    pairs = zip(first, second, draws[: len(first)], draws[len(first) :], strict=True)
    return tuple(_difference(one, other, own - its, members, level) for one, other, own, its in pairs)


def _difference(
    first: Ratio,
    second: Ratio,
    drawn: Float[np.ndarray, " resamples"],
    members: Int[np.ndarray, " items"],
    level: float,
) -> Difference:
    draws = np.round(drawn, 12)  # a draw without a difference is a zero, whatever the order of the sums
    low, high = _percentiles(draws, level)
    error = float(draws.std(ddof=1))
    above = _divide(first.numerators, first.denominators) - _divide(second.numerators, second.denominators)
    tail = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return Difference(
        float((first.per_seed() - second.per_seed()).mean()),
        low,
        high,
        error,
        min(1.0, (2 * tail + 1) / (len(draws) + 1)),
        DETECTABLE * error,
        int((above > 0).sum()),
        int((above < 0).sum()),
        *_sizes(first, members),
    )


def linear_combinations(
    scores: Sequence[Scores],
    weights: Float[np.ndarray, "combinations scores"],
    groups: Sequence[object] | None = None,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    generator_seed: int = 0,
) -> tuple[Interval, ...]:
    """Returns, for every row of `weights`, the weighted sum of the scores with its interval, every draw shared by all.

    A difference is the row (1, -1); Shapley values are rows over all subsets. Raises `ValueError` as `bootstrap_mean`
    does, where the scores have different shapes, and where a row has another length. Example: with scores `a`, `b` and
    weights `[[1., -1.]]` it is the interval of `paired_difference(a, b)`.
    """
    ratios = tuple(_checked(values) for values in scores)
    shapes = {ratio.numerators.shape for ratio in ratios}
    if len(shapes) != 1 or weights.shape[1] != len(ratios):
        raise ValueError(
            f"A combination needs one weight per score, of the same seeds and items: {weights.shape[1]} weights for "
            f"{len(ratios)} scores of the shapes {sorted(shapes)}."
        )
    members = _members(groups, next(iter(shapes))[1])
    values = weights @ np.array([ratio.per_seed().mean() for ratio in ratios])
    # As in `paired_difference`: a draw without a difference is a zero, whatever the order of the sums.
    draws = np.round(weights @ _draws(ratios, members, resamples, generator_seed), 12)
    sizes = _sizes(ratios[0], members)
    return tuple(
        Interval(float(np.round(value, 12)), *_percentiles(row, level), float(row.std(ddof=1)), *sizes)
        for value, row in zip(values, draws, strict=True)
    )


def bootstrap_function(
    scores: Sequence[Scores],
    function: Callable[[Float[np.ndarray, "scores draws"]], Float[np.ndarray, "values draws"]],
    groups: Sequence[object] | None = None,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    generator_seed: int = 0,
) -> tuple[Interval, ...]:
    """Returns an interval for every row that `function` makes of the means of the scores, every draw shared by all.

    `function` gets a column of means over seeds per draw, a row per score, and may be any, such as a maximum over the
    scores. The mean of an interval is the value for the scores as they are, which the draws of a maximum exceed on
    average. Raises `ValueError` as `bootstrap_mean` does and where the scores have different shapes.
    Example: with scores `a`, `b` and `lambda m: m.max(0)[None]` it is the interval of the better of the two.
    """
    ratios = tuple(_checked(values) for values in scores)
    shapes = {ratio.numerators.shape for ratio in ratios}
    if len(shapes) != 1:
        raise ValueError(f"A function of scores needs the same seeds and items in all; given: {sorted(shapes)}.")
    members = _members(groups, next(iter(shapes))[1])
    values = function(np.array([[ratio.per_seed().mean()] for ratio in ratios]))[:, 0]
    draws = np.round(function(_draws(ratios, members, resamples, generator_seed)), 12)
    sizes = _sizes(ratios[0], members)
    return tuple(
        Interval(float(np.round(value, 12)), *_percentiles(row, level), float(row.std(ddof=1)), *sizes)
        for value, row in zip(values, draws, strict=True)
    )


def _checked(scores: Scores) -> Ratio:
    if not isinstance(scores, Ratio):
        values = np.asarray(scores, dtype=np.float64)
        scores = Ratio(values, np.ones_like(values))
    ratio = Ratio(scores.numerators.astype(np.float64), scores.denominators.astype(np.float64))
    if ratio.numerators.size == 0:
        raise ValueError(f"An interval needs at least one seed and one item; the scores are {ratio.numerators.shape}.")
    if not (np.isfinite(ratio.numerators).all() and np.isfinite(ratio.denominators).all()):
        raise ValueError("The scores contain NaN or infinity: a model that gives such values has no accuracy.")
    return ratio


def _members(groups: Sequence[object] | None, num_items: int) -> Int[np.ndarray, " items"]:
    if groups is None:
        return np.arange(num_items)
    if len(groups) != num_items:
        raise ValueError(f"There are {len(groups)} group names for {num_items} items; give one per item.")
    order: dict[object, int] = {}
    return np.array([order.setdefault(name, len(order)) for name in groups], dtype=np.int64)


def _draws(
    ratios: tuple[Ratio, ...], members: Int[np.ndarray, " items"], resamples: int, generator_seed: int
) -> Float[np.ndarray, "ratios resamples"]:
    num_groups, num_seeds = int(members.max()) + 1, len(ratios[0].numerators)
    rows = np.concatenate([part for ratio in ratios for part in (ratio.numerators, ratio.denominators)])
    sums = np.stack([np.bincount(members, weights=row, minlength=num_groups) for row in rows])
    rng = np.random.default_rng(generator_seed)
    draws = np.empty((len(ratios), resamples))
    for k in range(resamples):
        seeds = rng.integers(num_seeds, size=num_seeds)
        times = np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)
        parts = (sums @ times).reshape(len(ratios), 2, num_seeds)
        draws[:, k] = _divide(parts[:, 0], parts[:, 1])[:, seeds].mean(axis=1)
    return draws


def _divide(above: Shaped[np.ndarray, "*shape"], below: Shaped[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    result = np.zeros(np.shape(above), dtype=np.float64)
    np.divide(above, below, out=result, where=below != 0)
    return result


def _percentiles(draws: Float[np.ndarray, " resamples"], level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"The level of an interval lies between 0 and 1 (0.95 is usual); given: {level}.")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _sizes(ratio: Ratio, members: Int[np.ndarray, " items"]) -> tuple[int, int, int]:
    return *ratio.numerators.shape, int(members.max()) + 1
