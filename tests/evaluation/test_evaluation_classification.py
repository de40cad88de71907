import numpy as np
import pytest
import torch
from sklearn import metrics

from awase.evaluation import accuracy, best_threshold, confusion_matrix, f1, multilabel_predictions, score

RNG = np.random.default_rng(0)
SINGLE_SAID, SINGLE_TRUE = RNG.integers(0, 5, 53), RNG.integers(0, 7, 53)
MANY_SAID, MANY_TRUE = (RNG.random((2, 53, 7)) < 0.3).astype(int)
MANY_SAID[:, 3] = MANY_TRUE[:, 3] = 0


def test_accuracy_is_top_one():
    logits = RNG.normal(size=(53, 7))
    assert accuracy(logits, SINGLE_TRUE) == metrics.accuracy_score(SINGLE_TRUE, logits.argmax(axis=1))
    assert accuracy(torch.from_numpy(logits).bfloat16(), torch.from_numpy(SINGLE_TRUE)) == accuracy(
        torch.from_numpy(logits).bfloat16().float().numpy(), SINGLE_TRUE
    )


def test_a_collapsed_model_scores_zero():
    assert accuracy(np.zeros((11, 3)), np.zeros(11, dtype=np.int64)) == 0.0


def test_accuracy_refuses_nan_and_empty():
    with pytest.raises(ValueError, match="NaN"):
        accuracy(np.full((2, 3), np.nan), np.zeros(2, dtype=np.int64))
    with pytest.raises(ValueError, match="no samples"):
        accuracy(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))


@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize(("said", "true"), [(SINGLE_SAID, SINGLE_TRUE), (MANY_SAID, MANY_TRUE)])
@pytest.mark.parametrize("zero", [0.0, 1.0])
def test_f1_equals_scikit_learn(average: str, said: np.ndarray, true: np.ndarray, zero: float):
    expected = metrics.f1_score(true, said, average=average, zero_division=zero)
    assert f1(said, true, average, zero) == pytest.approx(expected, abs=1e-15)


def test_f1_worked_example_and_empty_labels():
    assert f1(np.array([0, 1, 1]), np.array([0, 1, 0]), "macro") == pytest.approx(2 / 3)
    nothing = np.zeros((3, 2), dtype=int)
    assert f1(nothing, nothing) == 0.0
    assert f1(nothing, nothing, zero_division=1.0) == 1.0


def test_confusion_matrix_equals_scikit_learn():
    expected = metrics.confusion_matrix(SINGLE_TRUE, SINGLE_SAID, labels=range(7))
    np.testing.assert_array_equal(confusion_matrix(SINGLE_SAID, SINGLE_TRUE, 7), expected)


def test_multilabel_predictions_include_the_threshold():
    assert multilabel_predictions(np.array([[0.0, -1.0, 800.0, -800.0]]), 0.5).tolist() == [[1, 0, 1, 0]]
    assert multilabel_predictions(torch.tensor([[1.0, 1.2]]), 0.75).tolist() == [[0, 1]]


@pytest.mark.parametrize("seed", range(7))
def test_best_threshold_beats_every_other(seed: int):
    rng = np.random.default_rng(seed)
    targets = (rng.random((23, 3)) < 0.4).astype(int)
    logits = np.round(rng.normal(size=(23, 3)) + targets, 1)  # rounded: many ties
    found = f1(multilabel_predictions(logits, best_threshold(logits, targets)), targets)
    probabilities = np.unique(1 / (1 + np.exp(-logits)))
    assert found == max(f1(multilabel_predictions(logits, p), targets) for p in probabilities - 1e-9)


def test_best_threshold_edges():
    assert best_threshold(np.array([[2.0], [1.0], [-1.0]]), np.array([[1], [1], [0]])) == pytest.approx(0.5)
    assert best_threshold(np.array([[2.0], [1.0]]), np.array([[0], [0]])) == 0.5
    everything = best_threshold(np.array([[3.0, 3.0]]), np.array([[1, 0]]))
    assert multilabel_predictions(np.array([[3.0, 3.0]]), everything).tolist() == [[1, 1]]
    with pytest.raises(ValueError, match="NaN"):
        best_threshold(np.array([[np.nan]]), np.array([[1]]))


def test_score_of_one_label():
    logits, targets = torch.randn(53, 7, generator=torch.Generator().manual_seed(0)), torch.from_numpy(SINGLE_TRUE)
    result = score(logits, targets, "single_label")
    said = logits.argmax(dim=1).numpy()
    assert result["accuracy"] == metrics.accuracy_score(SINGLE_TRUE, said)
    assert result["f1_micro"] == pytest.approx(result["accuracy"])
    assert result["f1_macro"] == pytest.approx(metrics.f1_score(SINGLE_TRUE, said, average="macro", zero_division=0))
    expected = torch.nn.functional.cross_entropy(logits.double(), targets)
    assert result["loss"] == pytest.approx(expected.item(), rel=1e-12)


def test_score_of_several_labels():
    logits = torch.randn(53, 7, generator=torch.Generator().manual_seed(1))
    targets = torch.from_numpy(MANY_TRUE).float()
    result = score(logits, targets, "multi_label", 0.3)
    said = (torch.sigmoid(logits) >= 0.3).numpy()
    assert result["accuracy"] == metrics.accuracy_score(MANY_TRUE, said)
    for average in ("micro", "macro"):
        expected = metrics.f1_score(MANY_TRUE, said, average=average, zero_division=0)
        assert result[f"f1_{average}"] == pytest.approx(expected)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits.double(), targets.double())
    assert result["loss"] == pytest.approx(expected.item(), rel=1e-12)


def test_score_refuses_nan():
    for task, targets in (("single_label", np.zeros(2, dtype=np.int64)), ("multi_label", np.zeros((2, 3)))):
        with pytest.raises(ValueError, match="NaN"):
            score(np.full((2, 3), np.nan), targets, task)
