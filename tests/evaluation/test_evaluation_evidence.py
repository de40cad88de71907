"""The numbers behind a diagnosis against plain means; a modality absent from some samples; several labels."""

from dataclasses import replace

import numpy as np
import pytest

from awase.evaluation import f1
from awase.evaluation.decided import Decided
from awase.evaluation.evidence import (
    Measured,
    OwnModel,
    estimates,
    fused_probes,
    interaction_evidence,
    modality_evidence,
    whole_evidence,
)
from awase.evaluation.shapley import shapley_values, subsets
from awase.statistics import Ratio

SAMPLES, CLASSES = 37, 3
NAMES = ("audio", "video")


def made(shape: tuple[int, ...] = (SAMPLES,), names: tuple[str, ...] = NAMES, values: int = CLASSES) -> Measured:
    """Random decisions; the first five samples lack audio."""
    random = np.random.default_rng(5)
    present = {name: np.ones(SAMPLES, dtype=bool) for name in names}
    present["audio"][:5] = False

    def decisions() -> np.ndarray:
        return random.integers(0, values, shape)

    return Measured(
        targets=decisions(),
        groups=tuple(f"g{k // 2}" for k in range(SAMPLES)),
        present=present,
        subsets={subset: Decided(decisions(), random.random(SAMPLES)) for subset in subsets(names)},
        inside={name: decisions() for name in names},
        probes={name: random.normal(size=(SAMPLES, CLASSES)) for name in names},
        own={name: OwnModel("stage", decisions(), probe=decisions()) for name in names},
    )


def test_numbers_are_means_over_the_samples_that_have_the_modality():
    measured = made()
    found, rows = modality_evidence(measured)["audio"], np.arange(5, SAMPLES)

    def accuracy(decisions: np.ndarray) -> float:
        return float((decisions == measured.targets)[rows].mean())

    whole, without = (measured.subsets[frozenset(s)] for s in ({"audio", "video"}, {"video"}))
    chance = accuracy(measured.subsets[frozenset()].decisions)
    own, probe = measured.own["audio"], measured.probes["audio"].argmax(axis=1)
    both = (measured.probes["audio"] + measured.probes["video"]).argmax(axis=1)
    expected = {
        "own": accuracy(own.decisions),
        "own_probe": accuracy(own.probe),
        "inside": accuracy(measured.inside["audio"]),
        "only": accuracy(measured.subsets[frozenset({"audio"})].decisions),
        "probe": accuracy(probe),
        "own_above_chance": accuracy(own.decisions) - chance,
        "probe_above_chance": accuracy(probe) - chance,
        "probe_change": accuracy(probe) - accuracy(own.probe),
        "inside_minus_probe": accuracy(measured.inside["audio"]) - accuracy(probe),
        "gain": accuracy(whole.decisions) - accuracy(without.decisions),
        "probes_gain": accuracy(both) - accuracy(measured.probes["video"].argmax(axis=1)),
        "loss_gain": float((without.losses - whole.losses)[rows].mean()),
    }
    for name, value in expected.items():
        estimate = getattr(found, name)
        assert estimate.value == pytest.approx(value), name
        assert estimate.count == 32
        assert estimate.low <= estimate.value <= estimate.high


def test_shapley_values_and_the_interaction_are_over_all_samples():
    measured = made()
    scores = {s: float((part.decisions == measured.targets).mean()) for s, part in measured.subsets.items()}
    losses = {s: -float(part.losses.mean()) for s, part in measured.subsets.items()}
    found = modality_evidence(measured)
    for name in NAMES:
        assert found[name].shapley.value == pytest.approx(shapley_values(scores)[name])
        assert found[name].shapley_loss.value == pytest.approx(shapley_values(losses)[name])
    whole = whole_evidence(measured)
    assert whole["above_chance"].value == pytest.approx(scores[frozenset(NAMES)] - scores[frozenset()])
    total = sum(found[name].shapley.value for name in NAMES)
    assert total == pytest.approx(whole["above_chance"].value)
    a, b = (scores[frozenset({name})] for name in NAMES)
    expected = scores[frozenset(NAMES)] - a - b + scores[frozenset()]
    assert interaction_evidence(measured)["audio+video"].value == pytest.approx(expected)


def test_several_labels_are_scored_by_micro_f1():
    measured = made((SAMPLES, CLASSES), values=2)
    found = modality_evidence(measured)["audio"]
    rows = slice(5, None)
    assert found.own.value == pytest.approx(f1(measured.own["audio"].decisions[rows], measured.targets[rows]))
    assert found.probe.value == pytest.approx(
        f1((measured.probes["audio"] >= 0)[rows].astype(int), measured.targets[rows])
    )
    whole = f1(measured.subsets[frozenset(NAMES)].decisions, measured.targets)
    assert whole_evidence(measured)["whole"].value == pytest.approx(whole)


def test_a_mean_of_probes_is_over_those_that_a_sample_has_and_constant_where_there_is_none():
    measured = made()
    everything = frozenset(NAMES)
    expected = np.where(
        measured.present["audio"],
        (measured.probes["audio"] + measured.probes["video"]).argmax(axis=1),
        measured.probes["video"].argmax(axis=1),
    )
    np.testing.assert_array_equal(fused_probes(measured, everything), expected)
    number = measured.subsets[frozenset()].decisions
    np.testing.assert_array_equal(fused_probes(measured, frozenset({"audio"}))[:5], number[:5])
    np.testing.assert_array_equal(fused_probes(measured, frozenset()), number)


def test_one_modality_has_nothing_to_be_compared_with():
    measured = made(names=("audio",))
    found = modality_evidence(measured)["audio"]
    assert (found.gain, found.loss_gain, found.probes_gain, found.shapley) == (None, None, None, None)
    assert interaction_evidence(measured) == {}


def test_five_modalities_have_no_shapley_values_but_gains():
    measured = made(names=("audio", "video", "text", "flow", "depth"))
    found = modality_evidence(measured)["audio"]
    assert (found.shapley, found.shapley_loss) == (None, None)
    assert found.gain is not None
    assert interaction_evidence(measured) == {}


def test_a_modality_that_no_sample_has_is_refused():
    measured = made()
    nowhere = replace(measured, present={**measured.present, "audio": np.zeros(SAMPLES, dtype=bool)})
    with pytest.raises(ValueError, match="No sample of this split has audio"):
        modality_evidence(nowhere)


def test_what_never_varies_is_widened_by_the_rule_of_three_and_stays_a_rate():
    ones = Ratio(np.ones((1, 20)), np.ones((1, 20)))
    combinations = {"rate": {"a": 1.0}, "difference": {"a": 1.0, "b": -1.0}}
    found = estimates({"a": ones, "b": ones}, combinations, None)
    assert (found["rate"].low, found["rate"].value, found["rate"].high) == (pytest.approx(0.85), 1.0, 1.0)
    assert (found["difference"].low, found["difference"].high) == (pytest.approx(-0.15), pytest.approx(0.15))
    grouped = estimates({"a": ones}, {"rate": {"a": 1.0}}, ["x", "y"] * 10)
    assert grouped["rate"].low == 0.0
    losses = estimates({"a": ones}, {"loss": {"a": 1.0}}, None, bounded=False)
    assert losses["loss"].low == losses["loss"].high == 1.0
