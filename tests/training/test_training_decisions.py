"""Decisions against a scale that is known and against a search over a grid."""

import numpy as np
import pytest

from awase.training.decisions import DECISIONS, ensemble_weights, mean_loss, temperatures

CLASSES = 3


def sampled(rows: int, scale: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the truth, multiplied by `scale`, and classes drawn from the truth."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(rows, CLASSES))
    gumbel = -np.log(-np.log(generator.uniform(size=logits.shape)))
    return scale * logits, (logits + gumbel).argmax(axis=1)


def informative(rows: int = 211) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Audio tells the class, video is noise, text tells a little."""
    generator = np.random.default_rng(0)
    targets = generator.integers(CLASSES, size=rows)
    truth = np.eye(CLASSES)[targets]
    strengths = {"audio": 2.0, "text": 0.5, "video": 0.0}
    return {name: s * truth + generator.normal(size=truth.shape) for name, s in strengths.items()}, targets


def several(targets: np.ndarray) -> np.ndarray:
    """Each class, and its neighbour for every second row: several labels."""
    labels = np.eye(CLASSES)[targets]
    labels[::2] += np.eye(CLASSES)[(targets[::2] + 1) % CLASSES]
    return labels


def test_mean_loss_is_its_definition():
    logits, targets = sampled(17, 1.0, 0)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.mean([np.log(shares[row, targets[row]]) for row in range(17)])
    assert mean_loss(logits, targets) == pytest.approx(expected, rel=1e-12)
    labels = several(targets)
    s = 1 / (1 + np.exp(-logits))
    expected = -(labels * np.log(s) + (1 - labels) * np.log(1 - s)).mean()
    assert mean_loss(logits, labels) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [0.25, 1.0, 5.0])
def test_the_temperature_is_the_scale_of_the_logits(scale):
    logits, targets = sampled(20011, scale, 1)
    found = temperatures({"audio": logits}, targets)
    assert found["audio"] == pytest.approx(scale, rel=0.05)  # 20 011 draws: a standard error of about 0.01


@pytest.mark.parametrize("labels", ["one", "several"])
def test_no_temperature_of_a_grid_is_better(labels):
    logits, targets = informative()
    truth = targets if labels == "one" else several(targets)
    found = temperatures(logits, truth)
    assert set(found) == set(logits)
    for name, own in logits.items():
        grid = [mean_loss(own / t, truth) for t in np.geomspace(0.05, 20.0, 401)]
        assert mean_loss(own / found[name], truth) <= min(grid) + 1e-7


def test_noise_is_cooled_to_the_limit():
    logits, targets = informative()
    noise = {"video": np.random.default_rng(5).normal(size=logits["video"].shape) * 1000}
    assert temperatures(noise, targets)["video"] == pytest.approx(20.0, rel=1e-3)


def mixed_loss(weights, logits, targets, of):
    """The loss of the weighted mean, written out."""
    shares = np.asarray(weights, dtype=float) / np.sum(weights)
    stacked = np.stack(list(logits.values()))
    if of == "logits":
        return mean_loss((shares[:, None, None] * stacked).sum(axis=0), targets)
    if targets.ndim == 2:
        p = (shares[:, None, None] / (1 + np.exp(-stacked))).sum(axis=0)
        return float(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean())
    exponents = np.exp(stacked - stacked.max(axis=2, keepdims=True))
    p = (shares[:, None, None] * exponents / exponents.sum(axis=2, keepdims=True)).sum(axis=0)
    return float(-np.log(p[np.arange(len(targets)), targets]).mean())


@pytest.mark.parametrize("labels", ["one", "several"])
@pytest.mark.parametrize("of", ["logits", "probabilities"])
def test_no_weights_of_a_grid_are_better(of, labels):
    logits, targets = informative()
    truth = targets if labels == "one" else several(targets)
    found = ensemble_weights(logits, truth, of=of)
    assert list(found) == list(logits)
    assert sum(found.values()) == pytest.approx(3)
    assert min(found.values()) >= 0
    grid = [mixed_loss((a, b, 40 - a - b), logits, truth, of) for a in range(41) for b in range(41 - a)]
    assert mixed_loss(list(found.values()), logits, truth, of) <= min(grid) + 1e-5


def test_the_informative_modality_has_the_most_weight():
    logits, targets = informative()
    for of in ("logits", "probabilities"):
        found = ensemble_weights(logits, targets, of=of)
        assert found["audio"] > 2 * found["text"] > 2 * found["video"]


def test_equal_modalities_have_equal_weights():
    logits, targets = informative()
    found = ensemble_weights({"one": logits["audio"], "two": logits["audio"]}, targets)
    assert found == pytest.approx({"one": 1.0, "two": 1.0}, abs=0.02)


@pytest.mark.parametrize("of", ["logits", "probabilities"])
def test_calibrated_weights_are_those_of_the_calibrated_logits(of):
    logits, targets = informative()
    logits["text"] = 9 * logits["text"]
    scales = temperatures(logits, targets)
    divided = {name: own / scales[name] for name, own in logits.items()}
    expected = ensemble_weights(divided, targets, of=of)
    assert ensemble_weights(logits, targets, of=of, calibrated=True) == expected
    assert ensemble_weights(logits, targets, of=of) != pytest.approx(expected, rel=0.1)


def test_decisions_have_their_names():
    assert dict(DECISIONS) == {"temperatures": temperatures, "ensemble_weights": ensemble_weights}
