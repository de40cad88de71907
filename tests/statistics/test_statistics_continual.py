import math

import numpy as np
import pytest

from awase.statistics import bootstrap_function, bootstrap_mean, continual_metrics, gap_closed, task_intervals

# Three stages and four tasks, worked by hand: trained from stage 0, from 1, in the last alone, and in none.
SCORES = np.array([[0.50, 0.10, 0.05, 0.2], [0.55, 0.30, 0.08, 0.1], [0.20, 0.40, 0.35, 0.3]])
FIRST = (0, 1, 2, None)
JOINT = np.array([0.60, 0.38, 0.45, 0.5])
CHANCE = np.array([0.01, 0.02, 0.03, 0.04])


def test_worked_by_hand():
    result = continual_metrics(SCORES, FIRST, joint=JOINT, chance=CHANCE)
    rows = [[t.final, t.learned, t.forgetting, t.backward, t.forward, t.intransigence, t.gap] for t in result.tasks]
    expected = [
        [0.20, 0.50, 0.35, -0.30, None, 0.05, 0.40],
        [0.40, 0.30, 0.00, 0.10, 0.08, -0.02, -0.02],
        [0.35, 0.35, None, None, 0.05, 0.10, 0.10],
        [0.30, None, None, None, None, None, 0.20],
    ]
    for row, wanted in zip(rows, expected, strict=True):
        assert row == [None if value is None else pytest.approx(value, abs=1e-12) for value in wanted]
    assert result.average == pytest.approx(np.mean([0.2, 0.4, 0.35, 0.3]))
    assert result.learned == pytest.approx((0.5 + 0.3 + 0.35) / 3)
    assert result.forgetting == pytest.approx((0.35 + 0.0) / 2)
    assert result.backward == pytest.approx((-0.3 + 0.1) / 2)
    assert result.forward == pytest.approx((0.08 + 0.05) / 2)
    assert result.intransigence == pytest.approx((0.05 - 0.02 + 0.10) / 3)


def test_gap_is_forgetting_and_intransigence():
    rng = np.random.default_rng(0)
    scores, joint = rng.random((5, 23)), rng.random(23)
    first = [int(f) for f in rng.integers(0, 5, 23)]
    result = continual_metrics(scores, first, joint=joint)
    for j, task in enumerate(result.tasks):
        best = max(scores[i, j] for i in range(first[j], 5))
        forgetting = best - scores[4, j]
        assert task.forgetting == (None if first[j] == 4 else pytest.approx(forgetting, abs=1e-12))
        assert task.intransigence == pytest.approx(joint[j] - best, abs=1e-12)
        assert task.gap == pytest.approx(task.intransigence + (task.forgetting or 0.0), abs=1e-12)
        assert task.forgetting is None or task.forgetting >= 0


def test_the_staged_numbers_of_a_pair_first_trained_in_the_last_stage_are_no_forgetting():
    """AV then T: text-video at R@1 1.26 against 16.8 of joint training is all intransigence."""
    task = continual_metrics(np.array([[0.03], [1.26]]), (1,), joint=np.array([16.8])).tasks[0]
    assert task.forgetting is None
    assert task.intransigence == task.gap == pytest.approx(15.54)


def test_what_does_not_apply_is_none():
    one = continual_metrics(np.array([[0.4]]), (0,))
    assert (one.forgetting, one.backward, one.forward, one.intransigence) == (None,) * 4
    assert (one.average, one.learned) == (0.4, 0.4)
    unknown = np.array([[math.nan, 0.5], [0.3, 0.4]])
    result = continual_metrics(unknown, (1, 0), chance=np.array([0.0, 0.0]))
    assert result.tasks[0].forward is None
    assert result.forward is None


def test_bad_scores_are_refused():
    with pytest.raises(ValueError, match="some are NaN"):
        continual_metrics(np.array([[0.1], [math.nan]]), (0,))
    with pytest.raises(ValueError, match="some are NaN"):
        continual_metrics(np.array([[math.nan], [0.1]]), (0,))
    with pytest.raises(ValueError, match="one of 2 or None; given: 2"):
        continual_metrics(np.array([[0.2], [0.1]]), (2,))
    with pytest.raises(ValueError, match="per task"):
        continual_metrics(SCORES, FIRST[:2])
    with pytest.raises(ValueError, match="0 stages"):
        continual_metrics(np.zeros((0, 1)), (0,))


def test_gap_closed():
    assert gap_closed(0.5, 0.4, 0.6) == pytest.approx(0.5)
    assert gap_closed(0.7, 0.4, 0.6) == pytest.approx(1.5)
    assert gap_closed(0.5, 0.6, 0.6) is None
    assert gap_closed(0.5, 0.7, 0.6) is None
    assert gap_closed(0.5, 0.4, 0.6, gap_low=-0.01) is None
    assert gap_closed(0.5, 0.4, 0.6, gap_low=0.01) == pytest.approx(0.5)


def slow_intervals(hits: np.ndarray, joint: np.ndarray, groups: list[str], first: int, resamples: int) -> np.ndarray:
    """The definition: draw seeds and groups, put the drawn queries side by side, take the maximum anew."""
    names = list(dict.fromkeys(groups))
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(resamples):
        seeds = rng.integers(hits.shape[1], size=hits.shape[1])
        drawn = rng.integers(len(names), size=len(names))
        items = [i for g in drawn for i, group in enumerate(groups) if group == names[g]]
        means = [np.mean([stage[s][items].mean() for s in seeds]) for stage in (*hits, joint)]
        best, last = max(means[first:-1]), means[-2]
        rows.append([best - last, last - means[first], means[-1] - best, means[-1] - last])
    return np.array(rows)


def test_intervals_equal_the_definition():
    rng = np.random.default_rng(1)
    hits = (rng.random((3, 2, 29)) < np.array([0.2, 0.6, 0.5])[:, None, None]).astype(float)
    joint = (rng.random((2, 29)) < 0.7).astype(float)
    groups = [f"g{i % 11}" for i in range(29)]
    result = task_intervals(hits, 1, joint_hits=joint, groups=groups, resamples=83)
    draws = slow_intervals(hits, joint, groups, 1, 83)
    found = (result.forgetting, result.backward, result.intransigence, result.gap)
    for interval, column in zip(found, draws.T, strict=True):
        assert interval is not None
        # draws are rounded to 12 decimals
        np.testing.assert_allclose([interval.low, interval.high], np.quantile(column, [0.025, 0.975]), atol=2e-12)
        assert (interval.seeds, interval.items, interval.groups) == (2, 29, 11)
    table = continual_metrics(hits.mean(axis=(1, 2))[:, None], (1,), joint=np.array([joint.mean()])).tasks[0]
    assert result.forgetting.mean == pytest.approx(table.forgetting, abs=1e-12)
    assert result.gap.mean == pytest.approx(table.gap, abs=1e-12)
    assert result.final.mean == pytest.approx(table.final, abs=1e-12)
    once = bootstrap_mean(hits[1], groups, resamples=83)
    np.testing.assert_allclose([result.learned.low, result.learned.high], [once.low, once.high], atol=2e-12)
    assert result.gap.mean == pytest.approx(result.forgetting.mean + result.intransigence.mean, abs=1e-12)


def test_intervals_of_what_does_not_apply_are_none():
    hits = np.ones((2, 1, 7))
    last = task_intervals(hits, 1, resamples=11)
    assert (last.forgetting, last.backward, last.intransigence, last.gap) == (None,) * 4
    never = task_intervals(hits, None, joint_hits=np.ones((1, 7)), resamples=11)
    assert never.learned is None
    assert never.gap.mean == 0.0
    with pytest.raises(ValueError, match="given: 5"):
        task_intervals(hits, 5)


def test_any_function_of_means_has_an_interval():
    rng = np.random.default_rng(2)
    a, b = rng.random((2, 13)), rng.random((2, 13))
    linear = bootstrap_function([a, b], lambda means: means[:1] * 2, resamples=53)[0]
    once = bootstrap_mean(a, resamples=53)
    np.testing.assert_allclose([linear.mean, linear.low, linear.high], [2 * once.mean, 2 * once.low, 2 * once.high])
    with pytest.raises(ValueError, match="same seeds and items"):
        bootstrap_function([a, b[:, :5]], lambda means: means)
