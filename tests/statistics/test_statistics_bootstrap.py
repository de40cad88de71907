import numpy as np
import pytest

from awase.statistics import Ratio, bootstrap_mean, paired_difference


def rights(seed: int, *shape: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) < 0.7).astype(float)


def slow_draws(numerators: np.ndarray, denominators: np.ndarray, groups: list[str], resamples: int) -> np.ndarray:
    """The definition: draw seeds, draw groups, put the drawn items side by side, divide the sums, average."""
    names = list(dict.fromkeys(groups))
    rng = np.random.default_rng(0)
    means = []
    for _ in range(resamples):
        seeds = rng.integers(len(numerators), size=len(numerators))
        drawn = rng.integers(len(names), size=len(names))
        items = [i for g in drawn for i, group in enumerate(groups) if group == names[g]]
        means.append(np.mean([numerators[s, items].sum() / denominators[s, items].sum() for s in seeds]))
    return np.array(means)


def test_mean_equals_the_definition():
    values = rights(1, 3, 17)
    groups = [f"g{i % 5}" for i in range(17)]
    result = bootstrap_mean(values, groups, resamples=101)
    draws = slow_draws(values, np.ones_like(values), groups, 101)
    assert result.mean == values.mean(axis=1).mean()
    np.testing.assert_allclose([result.low, result.high], np.quantile(draws, [0.025, 0.975]), rtol=1e-12)
    np.testing.assert_allclose(result.standard_error, draws.std(ddof=1), rtol=1e-12)
    assert (result.seeds, result.items, result.groups) == (3, 17, 5)


def test_ratio_equals_the_definition():
    above = np.random.default_rng(2).integers(1, 3, (2, 13)).astype(float)
    below = above + 1
    result = bootstrap_mean(Ratio(above, below), resamples=97)
    draws = slow_draws(above, below, [str(i) for i in range(13)], 97)
    assert result.mean == (above.sum(axis=1) / below.sum(axis=1)).mean()
    np.testing.assert_allclose([result.low, result.high], np.quantile(draws, [0.025, 0.975]), rtol=1e-12)


def test_one_seed_has_the_closed_form_error_of_a_share():
    values = rights(3, 1, 499)
    p = values.mean()
    result = bootstrap_mean(values, resamples=4000)
    # 4000 draws know a standard error to about 1.1 %; four of those
    np.testing.assert_allclose(result.standard_error, np.sqrt(p * (1 - p) / 499), rtol=0.045)


def test_grouped_copies_are_not_more_data():
    values = rights(4, 1, 101)
    copies = np.repeat(values, 7, axis=1)
    groups = np.repeat(np.arange(101), 7).tolist()
    assert bootstrap_mean(copies, groups) == bootstrap_mean(values).__class__(
        **{**vars(bootstrap_mean(values)), "items": 707}
    )
    assert bootstrap_mean(copies).standard_error < 0.5 * bootstrap_mean(values).standard_error


def test_seeds_that_disagree_widen_the_interval():
    same, apart = np.array([[0.5] * 11] * 3), np.array([[0.3] * 11, [0.5] * 11, [0.7] * 11])
    assert bootstrap_mean(same).standard_error < 1e-12
    assert bootstrap_mean(apart).high - bootstrap_mean(apart).low > 0.2


def test_difference_is_paired():
    b = rights(5, 3, 83)
    a = np.minimum(b + (np.arange(83) % 7 == 0), 1.0)
    result = paired_difference(a, b)
    assert result.difference == pytest.approx((a - b).mean(), abs=1e-15)
    assert result.a_only == int((a > b).sum())
    assert result.b_only == 0
    assert result.standard_error < 0.6 * np.hypot(bootstrap_mean(a).standard_error, bootstrap_mean(b).standard_error)
    assert result.smallest_detectable == 2.8 * result.standard_error
    assert result.distinguishable
    assert result.sentence.startswith("Higher")
    draws = slow_draws(a - b, np.ones_like(a), [str(i) for i in range(83)], 2000)
    # draws are rounded to 12 decimals
    np.testing.assert_allclose([result.low, result.high], np.quantile(draws, [0.025, 0.975]), atol=2e-12)


def test_share_counts_draws_on_the_other_side():
    a, b = rights(11, 2, 23), rights(12, 2, 23)
    draws = slow_draws(a - b, np.ones_like(a), [str(i) for i in range(23)], 199).round(12)
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    assert 10 < tail < 90
    assert paired_difference(a, b, resamples=199).share == (2 * tail + 1) / 200


def test_difference_swaps_sign():
    a, b = rights(6, 2, 53), rights(7, 2, 53)
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert there.difference == -back.difference
    assert (there.a_only, there.b_only) == (back.b_only, back.a_only)
    np.testing.assert_allclose([there.low, there.high], [-back.high, -back.low], rtol=1e-9)
    assert there.share == back.share


def test_equal_methods_are_not_called_equal():
    a = rights(8, 3, 31)
    result = paired_difference(a, a)
    assert (result.difference, result.share, result.distinguishable) == (0.0, 1.0, False)
    assert "is not known" in result.sentence
    noisy = paired_difference(a, rights(9, 3, 31))
    assert f"differences under {noisy.smallest_detectable:.4f} cannot be seen" in noisy.sentence
    assert "Not distinguishable" in noisy.sentence


def test_share_is_small_for_a_sure_difference():
    result = paired_difference(np.ones((2, 19)), np.zeros((2, 19)), resamples=199)
    assert result.share == 1 / 200


def test_the_seed_decides():
    values = rights(10, 2, 29)
    assert bootstrap_mean(values, generator_seed=1) == bootstrap_mean(values, generator_seed=1)
    assert bootstrap_mean(values, generator_seed=1) != bootstrap_mean(values, generator_seed=2)


def test_empty_denominators_count_zero():
    zeros = np.zeros((1, 3))
    assert bootstrap_mean(Ratio(zeros, zeros)).mean == 0.0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        bootstrap_mean(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_mean(np.zeros((2, 0)))
    with pytest.raises(ValueError, match="3 group names for 2 items"):
        bootstrap_mean(np.zeros((1, 2)), ["a", "b", "c"])
    with pytest.raises(ValueError, match="same seeds and items"):
        paired_difference(*(Ratio(np.zeros((1, n)), np.ones((1, n))) for n in (2, 3)))
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_mean(np.zeros((1, 2)), level=95.0)
