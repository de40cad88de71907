"""Decisions, losses and the best constant, against the slow definition and the metrics of a record."""

from itertools import product

import numpy as np
import pytest

from awase.evaluation import f1, score
from awase.evaluation.decided import UNDECIDED, constant, decide, score_parts


def test_one_label_agrees_with_the_score_of_a_record_ties_included():
    random = np.random.default_rng(0)
    logits, targets = random.normal(size=(37, 5)), random.integers(0, 5, 37)
    logits[3] = 1.0
    said = decide(logits, targets, "single_label")
    expected = score(logits, targets, "single_label")
    assert said.decisions[3] == UNDECIDED
    assert score_parts(said.decisions, targets).per_seed()[0] == expected["accuracy"]
    assert said.losses.mean() == pytest.approx(expected["loss"])


def test_several_labels_agree_with_the_score_of_a_record():
    random = np.random.default_rng(1)
    logits, targets = random.normal(size=(31, 3)), random.integers(0, 2, (31, 3))
    said = decide(logits, targets, "multi_label", threshold=0.6)
    expected = score(logits, targets, "multi_label", 0.6)
    assert score_parts(said.decisions, targets).per_seed()[0] == pytest.approx(expected["f1_micro"])
    assert said.losses.mean() == pytest.approx(expected["loss"])


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_nan_is_refused(task):
    targets = np.zeros(2, int) if task == "single_label" else np.zeros((2, 3), int)
    with pytest.raises(ValueError, match="NaN"):
        decide(np.array([[0.0, np.nan, 1.0], [1.0, 2.0, 3.0]]), targets, task)


def test_the_constant_of_one_label_is_the_most_frequent_class():
    train, targets = np.array([2, 1, 2, 1, 0]), np.array([1, 2, 3, 1])
    said = constant(train, 4, targets)
    assert said.decisions.tolist() == [1, 1, 1, 1]  # the first of the two that occur twice
    counts = np.array([1, 2, 2, 0])
    np.testing.assert_allclose(said.losses, -np.log((counts[targets] + 1) / 9))


def test_the_constant_of_several_labels_is_the_best_of_all_label_sets():
    train = (np.random.default_rng(3).random((41, 4)) < [0.7, 0.1, 0.4, 0.55]).astype(int)
    values = {labels: f1(np.tile(labels, (41, 1)), train) for labels in product((0, 1), repeat=4)}
    said = constant(train, 4, train[:7])
    assert values[tuple(said.decisions[0].tolist())] == max(values.values())
    rates = (train.sum(axis=0) + 1) / 43
    expected = -(train[:7] * np.log(rates) + (1 - train[:7]) * np.log(1 - rates)).mean(axis=1)
    np.testing.assert_allclose(said.losses, expected)


def test_no_label_in_training_predicts_the_most_frequent_and_stays_finite():
    said = constant(np.zeros((5, 3), int), 3, np.ones((2, 3), int))
    assert np.isfinite(said.losses).all()
