"""Weighted sums of metrics: the same draws for all, so that differences are paired."""

import numpy as np
import pytest

from awase.statistics import Ratio, bootstrap_mean, linear_combinations, paired_difference


def scores(seed: int, items: int = 37) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (3, items)).astype(float)


def test_rows_are_means_and_paired_differences():
    a, b = scores(0), scores(1)
    groups = [str(k // 3) for k in range(37)]
    mean, difference = linear_combinations([a, b], np.array([[1.0, 0.0], [1.0, -1.0]]), groups)
    alone, paired = bootstrap_mean(a, groups), paired_difference(a, b, groups)
    assert (mean.mean, mean.groups, mean.items) == (pytest.approx(alone.mean), 13, 37)
    np.testing.assert_allclose([mean.low, mean.high], [alone.low, alone.high], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        [difference.mean, difference.low, difference.high], [paired.difference, paired.low, paired.high], atol=1e-12
    )


def test_a_metric_against_itself_is_zero_in_every_draw():
    ratio = Ratio(scores(0)[:1], np.abs(scores(2)[:1]) + 1)
    (nothing,) = linear_combinations([ratio, ratio, ratio], np.array([[0.7, 0.3, -1.0]]))
    assert (nothing.mean, nothing.low, nothing.high, nothing.standard_error) == (0.0, 0.0, 0.0, 0.0)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one weight per score"):
        linear_combinations([scores(0)], np.array([[1.0, -1.0]]))
    with pytest.raises(ValueError, match="same seeds and items"):
        linear_combinations([scores(0), scores(1, 31)], np.array([[1.0, -1.0]]))
