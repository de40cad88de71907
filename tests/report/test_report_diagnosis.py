"""A diagnosis as text and as a page: everything that was found is there, nothing is fetched, names are escaped."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from awase.records import BalancePoint, Diagnosis, Estimate, Finding, ModalityEvidence
from awase.report import render_diagnosis, render_diagnosis_text
from awase.report.diagnosis_figures import COLORS, balance_figure


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.0213, high=value + 0.0317, count=211)


def evidence(**changes: Any) -> ModalityEvidence:
    names = (*ModalityEvidence.model_fields,)
    fields: dict[str, Any] = {name: estimate(0.05 + 0.031 * place) for place, name in enumerate(names)}
    fields |= {"own_from": "store", "own_still_improving": False, "gain": estimate(-0.0004)}
    return ModalityEvidence(**{**fields, **changes})


def diagnosis(**changes: Any) -> Diagnosis:
    points = tuple(
        BalancePoint(
            stage="joint",
            epoch=epoch,
            target_scores={"audio": 0.3, "video": 0.4 + 0.1 * epoch},
            ratios={"audio": 0.75, "video": 4 / 3},
            gradient_norms={"audio": 0.1, "video": 2.0},
        )
        for epoch in range(3)
    )
    found = Finding(
        kind="ignored", modality="audio", statement="audio is ignored: <it> tells more.",
        numbers=("gain 0.0 [−2, +2]",), advice=("Use `joint` with `modality_weight=1`.",),
    )  # fmt: skip
    fields: dict[str, Any] = {
        "revision": 1, "stages": ("a", "b"), "experiment": "<demo>", "method": "joint", "seed": 3, "fold": None,
        "split": "val", "metric": "accuracy", "samples": 211, "left_out": 2, "fusion": "concat", "additive": True,
        "whole": estimate(0.9), "constant": estimate(0.25), "above_chance": estimate(0.65),
        "whole_loss": estimate(0.4), "constant_loss": estimate(1.386),
        "modalities": {"audio": evidence(), "video": evidence(own_probe=None, own_from="only")},
        "interactions": {"audio+video": estimate(-0.3)}, "balance": points, "findings": (found,),
        "verdict": "Audio is ignored.", "notes": ("Measured on validation.",), "made": "2026-01-05T10:00:00",
    }  # fmt: skip
    return Diagnosis(**{**fields, **changes})


class Page(HTMLParser):
    """The tags that are open, and what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [
            str(value) for name, value in attrs if name in ("src", "href") and not str(value).startswith("#")
        ]
        if tag not in ("meta", "br", "path", "use", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(value) for name, value in attrs if name == "src"]

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_the_page_has_everything_and_fetches_nothing():
    html = render_diagnosis(diagnosis())
    page = Page()
    page.feed(html)
    assert page.fetched == []
    assert page.open == []
    assert "<script" not in html
    assert html.count("<svg") == 3
    for words in (
        "Audio is ignored.", "&lt;demo&gt;", "&lt;it&gt; tells more", "<code>modality_weight=1</code>",
        "2 samples without any modality left out", "trained alone, by another run", "given alone", "additive",
        "Measured on validation.", "−30.0 [−32.1, −26.8]", "at the last epoch audio 0.75, video 1.33",
    ):  # fmt: skip
        assert words in html, words
    assert "<demo>" not in html


def test_figures_say_in_words_what_they_show():
    html = render_diagnosis(diagnosis())
    labels = re.findall(r'<svg role="img" aria-label="([^"]*)"', html)
    assert len(labels) == 3
    assert "audio own 5.0 [2.9, 8.2]" in labels[0]
    assert "video linear probe, trained alone" not in labels[0]
    assert "audio Shapley value" in labels[1]
    assert "discrepancy ratio audio 0.75, video 1.33" in labels[2]


def test_numbers_that_were_not_taken_are_left_out():
    one = evidence(**dict.fromkeys(("gain", "probes_gain", "loss_gain", "shapley", "shapley_loss", "own_probe")))
    found = diagnosis(modalities={"audio": one}, interactions={}, balance=())
    html = render_diagnosis(found)
    assert html.count("<svg") == 1
    assert "What each modality adds" not in html
    said = render_diagnosis_text(found)
    assert "Shapley" not in said
    assert "linear probe, joint model" in said


def test_a_curve_without_scores_shows_gradients_alone():
    points = [
        BalancePoint(stage="mlp", epoch=0, target_scores={}, ratios={}, gradient_norms={"audio": 0.1, "video": 2.0})
    ]
    svg = balance_figure("mlp", points, ("audio", "video"))
    assert "gradient norm audio 0.1, video 2" in svg
    assert "probability of the target" not in svg
    assert all(color in svg for color in COLORS[:2])


def test_the_text_has_the_verdict_what_is_behind_it_and_aligned_numbers():
    said = render_diagnosis_text(diagnosis(fold=2))
    assert said.startswith("<demo>, joint, seed 3, fold 2: diagnosis on val\nAudio is ignored.\n")
    assert "    gain 0.0 [−2, +2]\n  > Use `joint` with `modality_weight=1`." in said
    rows = [line for line in said.splitlines() if line.startswith(("own ", "linear probe", "gain", "Shapley"))]
    assert len({len(row) for row in rows}) == 1
    gain = next(row for row in rows if row.startswith("gain: whole"))
    assert re.search(r" 0\.0 \[−2\.2, \+3\.1\]", gain)  # -0.04 points is no minus zero
    assert "note: Measured on validation." in said


@pytest.mark.parametrize(("metric", "words"), [("accuracy", "accuracy, %"), ("f1_micro", "micro F1, %")])
def test_the_metric_is_named(metric, words):
    assert words in render_diagnosis(diagnosis(metric=metric))
