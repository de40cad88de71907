"""Every verdict from numbers that mean it, from numbers just beside them, and from too few samples."""

from typing import Any

import pytest
from diagnosis_numbers import estimate, evidence

from awase.evaluation.diagnosis import clearly, findings_of, lags, role, verdict
from awase.records import Estimate, Finding, ModalityEvidence

NOTHING = {"gain": estimate(0.0), "probes_gain": estimate(0.0)}
AT_CHANCE = {"own_above_chance": estimate(0.0, 0.04), "probe_above_chance": estimate(0.01, 0.04)}


def diagnosed(*modalities: ModalityEvidence, **changes: Any) -> tuple[tuple[Finding, ...], str]:
    named = dict(zip(("audio", "video", "text"), modalities, strict=False))
    settings: dict[str, Any] = {
        "above_chance": estimate(0.5),
        "additive": True,
        "splits": True,
        "fusion": "concat",
        "metric": "accuracy",
        "interactions": {},
        "ratios": {"audio": 0.35},
        "improving": (),
    }
    found = findings_of(named, **{**settings, **changes})
    return found, verdict(found, named)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "used"),
        ({"gain": Estimate(value=0.01, low=0.001, high=0.03, count=7)}, "used"),
        ({"gain": Estimate(value=0.01, low=0.001, high=0.019, count=7)}, "ignored"),  # within the margin; probes gain
        ({"gain": Estimate(value=0.03, low=-0.001, high=0.07, count=7)}, "ignored"),
        ({"gain": Estimate(value=-0.03, low=-0.06, high=-0.001, count=7)}, "harmful"),
        ({"gain": Estimate(value=-0.03, low=-0.06, high=0.0, count=7)}, "ignored"),
        ({**NOTHING}, "redundant"),
        ({**NOTHING, "probes_gain": Estimate(value=0.03, low=0.001, high=0.06, count=7)}, "ignored"),
        ({**NOTHING, "probes_gain": Estimate(value=0.03, low=-0.001, high=0.06, count=7)}, "redundant"),
        ({**NOTHING, "only_minus_own": estimate(-0.16)}, "ignored"),
        ({**NOTHING, "only_minus_own": estimate(-0.14)}, "redundant"),  # less than a third of 0.45
        ({**NOTHING, "only_minus_own": estimate(-0.16, 0.17)}, "redundant"),
        ({**NOTHING, "only_minus_own": estimate(-0.16), "own_from": "only"}, "redundant"),  # its own is the same model
        ({**NOTHING, "only_minus_probe": estimate(-0.16), "own_from": "only"}, "ignored"),
        ({**NOTHING, "only_minus_probe": estimate(-0.04), "probe_above_chance": estimate(0.06)}, "redundant"),
        ({**NOTHING, **AT_CHANCE}, "uninformative"),
        ({**NOTHING, **AT_CHANCE, "own_above_chance": estimate(0.03, 0.02)}, "redundant"),
        ({**NOTHING, **AT_CHANCE, "own_above_chance": estimate(0.03, 0.02), "own_from": "only"}, "uninformative"),
        ({**NOTHING, **AT_CHANCE, "own_above_chance": estimate(0.19, 0.2)}, "uninformative"),  # too few samples
        ({**AT_CHANCE}, "used"),  # only together with others does it tell something
    ],
)
def test_roles_and_their_borders(changes, expected):
    assert role(evidence(**changes)).role == expected


def test_an_ignored_modality_is_only_perhaps_so_where_the_interval_is_wide():
    narrow = evidence(gain=estimate(0.0, 0.05), only_minus_own=estimate(-0.2))
    wide = evidence(gain=estimate(0.0, 0.051), only_minus_own=estimate(-0.2))
    assert role(narrow).certain
    assert not role(wide).certain
    found, said = diagnosed(wide, evidence())
    assert said == "Audio may be ignored."
    assert "may be ignored" in found[0].statement
    assert "5.1 points may have been missed" in found[0].statement
    assert any("more samples" in one for one in found[0].advice)


@pytest.mark.parametrize(
    ("changes", "splits", "expected"),
    [
        ({}, True, ()),
        ({"probe_change": estimate(-0.03)}, True, ("features",)),
        ({"probe_change": estimate(-0.03, 0.031)}, True, ()),
        ({"probe_change": estimate(-0.019)}, True, ()),
        ({"probe_change": None}, True, ()),
        ({"inside_minus_probe": estimate(-0.16)}, True, ("inside",)),
        ({"inside_minus_probe": estimate(-0.16)}, False, ()),
        ({"inside_minus_probe": estimate(-0.14)}, True, ()),
        ({"inside_minus_probe": estimate(-0.04), "probe_above_chance": estimate(0.06)}, True, ()),
        ({"own_still_improving": True}, True, ("curve",)),
        ({"own_still_improving": True, "own_from": "store"}, True, ()),
        ({"own_still_improving": True, "probe_change": estimate(-0.1)}, True, ("features", "curve")),
    ],
)
def test_reasons_to_be_under_trained_and_their_borders(changes, splits, expected):
    assert lags(evidence(**changes), splits) == expected


def test_clearly_is_above_zero_and_worth_it():
    assert clearly(estimate(0.02, 0.019))
    assert not clearly(estimate(0.02, 0.02))
    assert not clearly(estimate(0.019))
    assert not clearly(None)


def test_nothing_wrong_says_how_much_may_have_been_missed():
    found, said = diagnosed(evidence(), evidence(gain=estimate(0.2, 0.07)))
    assert said == "Nothing wrong was found. What a modality adds is known to about ±7.0 points with these 211 samples."
    assert [finding.kind for finding in found] == ["used", "used"]
    assert "no difference" not in " ".join(finding.statement for finding in found)


def test_redundant_and_uninformative_modalities_are_no_defects():
    found, said = diagnosed(evidence(**NOTHING), evidence(), evidence(**NOTHING, **AT_CHANCE))
    assert said.startswith("Nothing wrong was found.")
    assert {finding.modality: finding.kind for finding in found} == {
        "audio": "redundant",
        "video": "used",
        "text": "uninformative",
    }


def test_defects_come_first_with_numbers_and_what_to_try():
    found, said = diagnosed(
        evidence(),
        evidence(**NOTHING, only_minus_own=estimate(-0.2), probe_change=estimate(-0.1)),
        evidence(gain=estimate(-0.04)),
        ratios={"video": 0.35, "text": 1.7},
    )
    assert said == "Text is harmful; video is ignored and under-trained."
    assert [(finding.modality, finding.kind) for finding in found][:3] == [
        ("text", "harmful"),
        ("video", "ignored"),
        ("video", "under_trained"),
    ]
    for finding in found[:3]:
        assert finding.advice, finding
        assert any("[" in number for number in finding.numbers), finding
    assert any("discrepancy ratio at the last epoch: 0.35" in number for number in found[1].numbers)
    assert any("0.0 points [−1.0, +1.0]" in number for number in found[1].numbers)


def test_a_model_at_chance_is_never_nothing_wrong_and_an_additive_fusion_is_named_where_it_may_be_why():
    helpless = evidence(**NOTHING, **AT_CHANCE)
    found, said = diagnosed(helpless, helpless, above_chance=estimate(0.0, 0.03))
    assert said == "The model is at chance."
    assert found[0].kind == "at_chance"
    assert "'concat' adds one term per modality" in found[0].statement
    assert "fusion=mlp" in found[0].advice[0]
    for changes in ({"additive": False}, {}):
        others = helpless if changes else evidence()
        found, _ = diagnosed(helpless, others, above_chance=estimate(0.0, 0.03), **changes)
        assert "adds one term" not in found[0].statement


def test_synergy_is_said_of_fusions_that_are_not_additive():
    interactions = {"audio+video": estimate(0.6, 0.1), "audio+text": estimate(0.04), "text+video": estimate(0.1, 0.2)}
    kinds = [f.kind for f in diagnosed(evidence(), evidence(), interactions=interactions, additive=False)[0]]
    assert kinds == ["synergy", "used", "used"]
    assert "synergy" not in [f.kind for f in diagnosed(evidence(), evidence(), interactions=interactions)[0]]


def test_unfinished_training_and_one_modality_are_said():
    found, said = diagnosed(evidence(), evidence(), improving=("joint",))
    assert found[0].kind == "unfinished"
    assert said.endswith("Training was not finished, though.")
    found, said = diagnosed(evidence(gain=None, probes_gain=None, shapley=None, shapley_loss=None, loss_gain=None))
    assert [finding.kind for finding in found] == ["alone"]
    assert said == "Nothing wrong was found; with one modality there is nothing to compare."
