"""Pages, tables in words and rows of retrieval runs."""

import json
from pathlib import Path

import pytest
from page_checker import Checker
from report_records import make_record, write_runs
from retrieval_runs import write_space

from awase.report import Run, load, render_html, render_json, render_latex, render_markdown


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("spaces")
    for method in ("joint", "av_t"):
        for seed in (0, 1):
            write_space(folder, method, seed, published={"test R@1": 10.5} if method == "joint" else None)
    return load([folder])


@pytest.fixture(scope="module")
def page(runs: list[Run]) -> str:
    return render_html(runs)


def test_page_is_well_formed_and_asks_nothing_of_the_network(page: str):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    assert all(address.startswith(("#", "data:")) for address in checker.addresses)
    assert [label.split(" by epoch")[0] for label in checker.labels] == [
        "Validation R@1 of av_t",
        "Validation R@1 of joint",
    ]
    assert "audio+video from epoch 0, joint from epoch 2" in checker.labels[0]


def test_page_has_every_section(page: str):
    for words in (
        "Result",
        "What stages learned, kept and forgot",
        "Learning curves",
        "Shape of the space",
        "Worst queries",
        "How to get these numbers again",
    ):
        assert f"<h3>{words}</h3>" in page
    assert "Confusion matrix" not in page
    assert "published 10.5" in page
    assert "text-&gt;audio+video: 23 queries of test (0 missing) in 23 items of test" in page
    assert "the largest deviation here is 0 points" in page


def test_page_shows_worst_queries_of_test_alone_and_escapes_them(page: str):
    assert "a cat &lt;purrs&gt;" in page
    assert "joint, seed 0: text-&gt;video on test" in page
    assert "text-&gt;video on val" not in page
    assert '<th scope="row">22</th><td class="words"><span>a dog</span><small>test-3</small></td>' in page


def test_shape_of_stages_is_shown_once_and_never_as_minus_zero(page: str):
    assert page.count("audio+video (av_t)</th>") == 3  # pairs, single modalities, hubs
    assert "−0.00" not in page
    assert ">25<" in page  # percent of items never found


def test_other_protocols_have_sections_of_their_own(tmp_path: Path):
    write_space(tmp_path, "joint")
    write_space(tmp_path, "av_t", post_processing="querybank")
    page = render_html(load([tmp_path]))
    assert "spaces: clips (post processing none)</h2>" in page
    assert "spaces: clips (post processing querybank)</h2>" in page


def test_classification_and_retrieval_stand_on_one_page(tmp_path: Path):
    write_space(tmp_path, "joint")
    write_runs(tmp_path, [make_record("mmlora"), make_record("ume")])
    page = render_html(load([tmp_path]))
    assert "<h3>Confusion matrix</h3>" in page
    assert "<h3>Worst queries</h3>" in page


def test_markdown(runs: list[Run]):
    text = render_markdown(runs)
    assert "No interval" not in text
    assert "predictions" not in text
    for direction in ("text->audio", "text->video", "text->audio+video"):
        assert f"## spaces: clips: test, {direction}\n" in text
    assert "## spaces: clips: test, stages\n" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith(("| joint", "| method | R@1"))}
    assert widths == {11}
    assert "Protocol. text->audio: 23 queries of test" in text
    assert "10.5 / – / – / –" in text  # published, beside all others together


def test_latex(runs: list[Run]):
    text = render_latex(runs)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 4
    assert r"av\_t & " in text
    assert "R@1, \\%" in text


def test_rows(runs: list[Run]):
    found = json.loads(render_json(runs))["rows"]
    keys = ("method", "stage", "split", "direction", "metric", "same_text_right")
    assert len({tuple(row[key] for key in keys) for row in found}) == len(found)
    row = next(
        row for row in found if [row[key] for key in keys] == ["joint", "joint", "test", "text->audio+video", "R@1", 0]
    )
    assert row["published"] == pytest.approx(0.105)
    assert (row["seeds"], row["folds"], row["trained"]) == (2, 1, True)
    assert row["protocol"]["correct"] == "own item"
    same = [row for row in found if row["same_text_right"]]
    assert {row["protocol"]["correct"] for row in same} == {"every item with the same caption"}
    assert {row["direction"].partition("->")[0] for row in same} == {"text"}
    assert {row["stage"] for row in found if row["method"] == "av_t"} == {"audio+video", "joint"}
    json.dumps(found)
