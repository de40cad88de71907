"""Decisions from what stages measured: the better of several, the weights of G-Blending; against their definitions."""

import itertools
import math

import pytest

from awase.config import ObjectiveConfig, SelectionConfig
from awase.training.decisions import MEASURED, better_of, blend_weights

ACCURACY = SelectionConfig()
LOSS = SelectionConfig(metric="loss", direction="min")
CHOICES = {"umt": "linear", "ume": "ensemble"}


def scores(**accuracy: float) -> dict[str, dict[str, dict[str, float]]]:
    return {name: {"val": {"accuracy": value, "loss": 1 - value}} for name, value in accuracy.items()}


@pytest.mark.parametrize("selection", [ACCURACY, LOSS], ids=["max", "min"])
@pytest.mark.parametrize(
    ("linear", "ensemble", "choice"), [(0.7, 0.6, "umt"), (0.6, 0.7, "ume"), (0.6, 0.6, "ume"), (0.0, 0.0, "ume")]
)
def test_the_default_is_left_only_for_a_strictly_better_one(selection, linear, ensemble, choice):
    found = better_of(scores(linear=linear, ensemble=ensemble), selection, CHOICES, "ume")
    assert found["choice"] == choice
    if selection is ACCURACY:
        assert found["validation"] == {"umt": linear, "ume": ensemble}
    else:
        assert found["validation"] == pytest.approx({"umt": 1 - linear, "ume": 1 - ensemble})


def test_of_several_better_ones_the_best_and_of_equal_ones_the_first():
    facts = scores(a=0.6, b=0.8, c=0.8, d=0.5)
    choices = {"first": "a", "second": "b", "third": "c", "last": "d"}
    assert better_of(facts, ACCURACY, choices, "last")["choice"] == "second"
    assert better_of(facts, ACCURACY, choices, "third")["choice"] == "third"


def ends(begin_train: float, begin_val: float, end_train: float, end_val: float) -> dict[str, dict[str, float]]:
    return {"begin": {"train": begin_train, "val": begin_val}, "end": {"train": end_train, "val": end_val}}


FACTS = {
    "all": ends(2.0, 2.1, 0.5, 1.2),
    "measure-audio": ends(2.0, 2.2, 1.0, 1.5),
    "measure-text": ends(1.9, 2.0, 1.6, 1.9),
    "measure-video": ends(2.3, 2.2, 0.4, 1.7),
}
NAMES = {name: f"measure-{name}" for name in ("audio", "text", "video")}


@pytest.mark.parametrize("modalities", [("audio", "video"), ("audio", "text", "video")])
def test_weights_are_generalisation_over_overfitting_squared(modalities):
    names = {name: NAMES[name] for name in modalities}
    found = blend_weights(FACTS, LOSS, "all", names)
    shares = {}
    for key, stage in {"joint": "all", **names}.items():
        g = FACTS[stage]["begin"]["val"] - FACTS[stage]["end"]["val"]
        gaps = {end: FACTS[stage][end]["val"] - FACTS[stage][end]["train"] for end in ("begin", "end")}
        shares[key] = g / (gaps["end"] - gaps["begin"]) ** 2
    total = math.fsum(shares.values())
    assert found["fused_weight"] == pytest.approx(shares["joint"] / total)
    assert found["modality_weights"] == pytest.approx({name: shares[name] / total for name in modalities})
    assert found["clamped"] == []
    assert found["fused_weight"] + sum(found["modality_weights"].values()) == pytest.approx(1.0)


def variance_of(weights: dict[str, float], errors: dict[str, float]) -> float:
    """E of the squared overfitting of a blend of independent gradients (equation 3 of the paper, up to a factor)."""
    return sum((weights[key] * errors[key]) ** 2 for key in weights)


def test_no_weights_of_a_grid_overfit_less_for_what_they_generalise():
    """The weights minimise the squared overfitting over the squared generalisation of the blend."""
    names = {"audio": "measure-audio", "video": "measure-video"}
    found = blend_weights(FACTS, LOSS, "all", names)
    weights = {"joint": found["fused_weight"], **found["modality_weights"]}
    gains, errors = {}, {}
    for key, stage in {"joint": "all", **names}.items():
        begin, end = FACTS[stage]["begin"], FACTS[stage]["end"]
        gains[key] = begin["val"] - end["val"]
        errors[key] = end["val"] - end["train"] - begin["val"] + begin["train"]

    def ratio(w: dict[str, float]) -> float:
        return variance_of(w, errors) / sum(w[key] * gains[key] for key in w) ** 2

    grid = [
        dict(zip(weights, (a / 40, b / 40, (40 - a - b) / 40), strict=True))
        for a, b in itertools.product(range(41), repeat=2)
        if a + b <= 40
    ]
    assert ratio(weights) <= min(ratio(w) for w in grid) + 1e-9


def test_what_got_worse_has_no_weight_and_it_is_said():
    facts = {**FACTS, "measure-audio": ends(2.0, 2.0, 1.0, 2.25)}
    found = blend_weights(facts, LOSS, "all", NAMES)
    assert found["modality_weights"]["audio"] == 0
    assert found["clamped"] == ["audio: generalisation -0.25 counts as 0"]


def test_overfitting_next_to_nothing_counts_as_the_smallest_and_it_is_said():
    facts = {**FACTS, "measure-text": ends(2.0, 2.0, 1.5, 1.5)}
    names = {name: NAMES[name] for name in ("audio", "text")}
    found = blend_weights(facts, LOSS, "all", names, smallest=0.1)
    shares = {"joint": 0.9 / 0.6**2, "audio": 0.7 / 0.3**2, "text": 0.5 / 0.1**2}
    assert found["clamped"] == ["text: overfitting 0 counts as 0.1"]
    assert found["modality_weights"]["text"] == pytest.approx(shares["text"] / sum(shares.values()))


def test_where_nothing_generalises_all_are_equal():
    facts = dict.fromkeys(FACTS, ends(1.0, 1.0, 0.5, 1.5))
    found = blend_weights(facts, LOSS, "all", NAMES)
    assert found["fused_weight"] == 0.25
    assert found["modality_weights"] == dict.fromkeys(NAMES, 0.25)
    assert found["clamped"][-1] == "nothing generalises: the weights are equal"
    assert len(found["clamped"]) == 5


def test_the_result_is_fields_of_an_objective():
    found = blend_weights(FACTS, LOSS, "all", NAMES)
    fields = {key: value for key, value in found.items() if key in ObjectiveConfig.model_fields}
    objective = ObjectiveConfig.model_validate(fields)
    assert objective.weight_of("audio") == found["modality_weights"]["audio"]
    assert set(found) - set(fields) == {"clamped"}


def test_decisions_have_their_names():
    assert dict(MEASURED) == {"better_of": better_of, "blend_weights": blend_weights}
