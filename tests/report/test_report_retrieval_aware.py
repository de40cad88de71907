"""Numbers under adapters and in the shared space stand in columns of their own."""

import json

import pytest
from page_checker import Checker
from retrieval_runs import SIZE, make_space, numbers

from awase.report import Run, render_html, render_json, render_markdown
from awase.report.groups import tabulate
from awase.report.retrieval_lines import build_space_lines

KEY = ("joint", "test", "text->video")


def adapted(seed: int = 0) -> Run:
    """A run of which text->video is asked under adapters: the shared space's ranks are the same but for the first."""
    record, ranks = make_space("av_t", seed)
    assert record.retrieval is not None
    found, plain = [], []
    for one in record.retrieval.numbers:
        if (one.stage, one.direction) == ("joint", "text->video"):
            worse = ranks[one.stage, one.split, one.direction].rank.copy()
            worse[:] = SIZE - 1
            plain.append(one.model_copy(update={"metrics": numbers(worse, SIZE)}))
            one = one.model_copy(update={"under": "text+video"})
        found.append(one)
    retrieval = record.retrieval.model_copy(update={"numbers": tuple(found), "agnostic": tuple(plain)})
    return Run(record.model_copy(update={"retrieval": retrieval}))


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return [Run(make_space("joint")[0]), adapted()]


def test_lines_know_which_is_which(runs: list[Run]):
    found = build_space_lines(tabulate(runs).tables[0])
    assert found.aware
    cells = {line.group.method: line.cells["test", "text->video"] for line in found.lines}
    assert (cells["joint"].aware, cells["joint"].agnostic) == (False, {})
    assert cells["av_t"].aware
    assert cells["av_t"].agnostic["MedR"].mean == SIZE
    assert cells["av_t"].stats["MedR"].mean < SIZE
    assert {line.title for line in found.lines} == {"joint", "av_t (task-aware)"}
    assert not build_space_lines(tabulate(runs[:1]).tables[0]).aware


def test_columns_of_the_text(runs: list[Run]):
    text = render_markdown(runs).partition("test, text->video")[2]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    titles = lines[0]
    table = {row[0]: dict(zip(titles, row, strict=True)) for row in lines[2:4]}
    assert table["joint"]["MedR, task-aware"] == "–"
    assert table["joint"]["MedR, task-agnostic"] != "–"
    assert table["av_t"]["MedR, task-agnostic"] == f"{SIZE}.0"
    assert table["av_t"]["MedR, task-aware"] not in ("–", f"{SIZE}.0")
    assert "one shared space, whatever is asked" in text
    assert "task-a" not in render_markdown(runs[:1])


def test_columns_of_the_page(runs: list[Run]):
    page = render_html(runs)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert "text-&gt;video, task-aware" in page
    assert "text-&gt;video, task-agnostic" in page
    assert "av_t, after joint (task-aware)" in page
    assert "av_t (task-agnostic)" in page
    assert "task-a" not in render_html(runs[:1])


def test_rows_of_the_json(runs: list[Run]):
    rows = [row for row in json.loads(render_json(runs))["rows"] if row["method"] == "av_t" and row["metric"] == "MedR"]
    mine = [row for row in rows if (row["stage"], row["split"], row["direction"]) == KEY and not row["same_text_right"]]
    assert {row["under"]: row["mean"] for row in mine}[None] == SIZE
    assert {row["under"] for row in mine} == {None, "text+video"}
