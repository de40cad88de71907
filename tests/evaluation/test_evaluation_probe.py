import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from awase.evaluation import Labelled, linear_probe, probe_scores


def split(seed: int, num: int, noise: float = 1.0) -> Labelled:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, num)
    centres = 100 * np.eye(3, 5)
    return Labelled((centres[targets] + 100 * noise * rng.normal(size=(num, 5))).astype(np.float32), targets)


@pytest.mark.parametrize("seed", [1, 2, 20, 24])
def test_probe_is_the_best_on_validation(seed: int):
    train, val, test = split(seed, 31, 2.0), split(seed + 1, 37, 2.0), split(seed + 2, 41, 2.0)
    scaler = StandardScaler().fit(train.features.astype(np.float64))
    best = (-1.0, 0.0)
    for strength in (0.01, 0.1, 1.0, 10.0):
        model = LogisticRegression(C=strength, max_iter=300).fit(scaler.transform(train.features), train.targets)
        found = [model.score(scaler.transform(part.features), part.targets) for part in (val, test)]
        best = max(best, tuple(found), key=lambda pair: pair[0])
    assert linear_probe(train, val, test, "single_label") == best[1]


def test_separable_and_meaningless_features():
    assert linear_probe(split(0, 61, 0.01), split(1, 37, 0.01), split(2, 41, 0.01), "single_label") == 1.0
    nothing = [Labelled(np.zeros((len(p.targets), 5), np.float32), p.targets) for p in (split(s, 61) for s in range(3))]
    assert linear_probe(*nothing, "single_label") < 0.6


def many(seed: int, num: int) -> Labelled:
    part = split(seed, num, 0.5)
    targets = np.stack([part.targets == 0, part.targets != 1, np.zeros(num), np.ones(num)], axis=1).astype(np.float32)
    return Labelled(part.features, targets)


def test_several_labels_and_classes_that_never_change():
    value = linear_probe(many(0, 61), many(1, 37), many(2, 41), "multi_label")
    test = many(2, 41).targets
    assert value > f1_score(test, np.tile([0, 1, 0, 1], (41, 1)), average="micro")
    assert value == linear_probe(many(0, 61), many(1, 37), many(2, 41), "multi_label")


def test_empty_and_nan_are_refused():
    good, empty = split(0, 7), Labelled(np.zeros((0, 5), np.float32), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="'val'"):
        linear_probe(good, empty, good, "single_label")
    broken = Labelled(np.full((7, 5), np.nan, np.float32), good.targets)
    with pytest.raises(ValueError, match="'test'"):
        linear_probe(good, good, broken, "single_label")


def test_scores_of_test_decide_as_the_probe_does():
    train, val, test = split(1, 31, 2.0), split(2, 37, 2.0), split(3, 41, 2.0)
    scores = probe_scores(train, val, test, "single_label", 3)
    assert (scores.argmax(axis=1) == test.targets).mean() == linear_probe(train, val, test, "single_label")
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)


def test_scores_of_several_labels_decide_as_the_probe_does():
    train, val, test = many(0, 61), many(1, 37), many(2, 41)
    scores = probe_scores(train, val, test, "multi_label", 4)
    said = (scores >= 0).astype(int)
    assert f1_score(test.targets, said, average="micro") == linear_probe(train, val, test, "multi_label")


def test_each_half_of_validation_is_scored_with_the_strength_that_is_best_on_the_other():
    train, val = split(1, 31, 2.0), split(20, 37, 2.0)
    scaler = StandardScaler().fit(train.features.astype(np.float64))
    said = [
        LogisticRegression(C=strength, max_iter=300)
        .fit(scaler.transform(train.features.astype(np.float64)), train.targets)
        .predict_log_proba(scaler.transform(val.features.astype(np.float64)))
        for strength in (0.01, 0.1, 1.0, 10.0)
    ]
    expected = np.empty((37, 3))
    for half in (0, 1):
        rights = [(s.argmax(axis=1) == val.targets)[1 - half :: 2].mean() for s in said]
        expected[half::2] = said[int(np.argmax(rights))][half::2]
    found = probe_scores(train, val, None, "single_label", 3)
    np.testing.assert_allclose(found, np.maximum(expected, -30))
    changed = val._replace(targets=np.where(np.arange(37) == 4, (val.targets + 1) % 3, val.targets))
    np.testing.assert_array_equal(probe_scores(train, changed, None, "single_label", 3)[4], found[4])


def test_a_class_that_training_lacks_has_the_floor():
    scores = probe_scores(split(1, 31), split(2, 37), split(3, 5), "single_label", 4)
    assert (scores[:, 3] == -30).all()
    one = Labelled(split(1, 7).features, np.full(7, 2))
    assert probe_scores(one, split(2, 37), split(3, 5), "single_label", 4).argmax(axis=1).tolist() == [2] * 5
