"""Inductive numbers in a report: columns of their own, said to be so, and no raw number among them."""

import json

import numpy as np
import pytest
from page_checker import Checker
from retrieval_runs import SIZE, make_space, write_space

from awase.report import Run, load, render_html, render_json, render_latex, render_markdown
from awase.report.groups import Table, tabulate
from awase.report.retrieval_bank import bank_sentence, bank_stat
from awase.report.retrieval_lines import build_space_lines

KEY = ("joint", "test", "text->video")
BANK = 17


def table_of(*made: dict) -> Table:
    return tabulate([Run(make_space(**one)[0]) for one in made]).tables[0]


def better(seed: int, fold: int | None = None) -> np.ndarray:
    """The made-up ranks with a bank: one better each."""
    rank = make_space("joint", seed, fold=fold)[1][KEY].rank
    return np.where(rank > 0, rank - 1, rank)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Joint training has inductive numbers, the staged method has none: it is of an older awase."""
    folder = tmp_path_factory.mktemp("bank")
    for seed in (0, 1):
        write_space(folder, "joint", seed, bank=BANK)
        write_space(folder, "av_t", seed)
    return load([folder])


def test_folds_are_averaged_within_a_seed():
    group = table_of(
        *({"method": "joint", "seed": seed, "fold": fold, "bank": BANK} for seed in (0, 1) for fold in (0, 1))
    ).groups[0]
    found = bank_stat(group, "test", "text->video", "R@5")
    expected = {seed: np.mean([(better(seed, fold) < 5).mean() for fold in (0, 1)]) for seed in (0, 1)}
    assert found is not None
    assert found.per_seed == pytest.approx(expected)


def test_runs_with_and_without_are_not_averaged():
    group = table_of({"method": "joint", "seed": 0, "bank": BANK}, {"method": "joint", "seed": 1}).groups[0]
    assert bank_stat(group, "test", "text->video", "R@1") is None


def test_nothing_is_said_where_there_is_no_bank():
    table = table_of({"method": "joint"})
    assert bank_sentence(table, "test", ["text->video"]) is None
    assert build_space_lines(table).banks == {}
    assert "nductive" not in render_markdown([Run(make_space("joint")[0])])


def test_the_bank_is_named_with_its_size():
    table = table_of({"method": "joint", "bank": 17}, {"method": "joint", "seed": 1, "bank": 19})
    words = bank_sentence(table, "test", ["text->video"])
    assert words is not None
    assert "17 to 19 queries of val" in words


def test_raw_numbers_are_as_they_are_without_it():
    """Raw columns, validation, the best method and intervals do not see the bank."""
    plain, banked = (
        build_space_lines(table_of({"method": "joint", **more}, {"method": "av_t"})) for more in ({}, {"bank": BANK})
    )
    for one, other in zip(plain.lines, banked.lines, strict=True):
        assert one.val == other.val
        assert all(cell.stats == other.cells[key].stats for key, cell in one.cells.items())
    assert plain.best is not None
    assert banked.best is not None
    assert plain.best.group.method == banked.best.group.method
    cells = {line.group.method: line.cells["test", "text->video"] for line in banked.lines}
    assert cells["av_t"].banked == {}
    assert cells["joint"].banked["MedR"].mean == np.median(better(0)) + 1
    assert cells["joint"].banked["MedR"] != cells["joint"].stats["MedR"]


def test_page(runs: list[Run]):
    page = render_html(runs)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert "text-&gt;video, inductive" in page
    assert f"The bank are {BANK} queries of val" in page
    shown = page.partition("with a query bank (inductive)</caption>")[2].partition("</table>")[0]
    raw = page.partition("after the last stage</caption>")[2].partition("</table>")[0]
    assert "nductive" not in raw
    values = [100 * float((better(seed) < 1).mean()) for seed in (0, 1)]
    assert f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" in shown


def test_markdown_and_latex(runs: list[Run]):
    text = render_markdown(runs)
    lines = [line for line in text.splitlines() if line.startswith(("| method | R@1", "| joint"))]
    titles = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    assert titles[-4:] == ["R@1, %, inductive", "R@5, %, inductive", "R@10, %, inductive", "MedR, inductive"]
    assert titles[1] == "R@1, %"
    assert {line.count("|") for line in lines} == {len(titles) + 1}
    assert text.count(f"The bank are {BANK} queries of val") == 3  # a table per main direction
    row = next(line for line in text.splitlines() if line.startswith("| av_t"))
    assert [cell.strip() for cell in row.split("|")[-5:-1]] == ["–"] * 4
    assert r"MedR, inductive \\" in render_latex(runs)


def test_json(runs: list[Run]):
    found = json.loads(render_json(runs))
    assert all(row["protocol"]["post_processing"] == "none" for row in found["rows"])
    inductive = found["inductive"]
    assert {row["method"] for row in inductive} == {"joint"}
    assert {(row["bank"], row["bank_queries"], row["protocol"]["post_processing"]) for row in inductive} == {
        ("val", BANK, "querybank")
    }
    (row,) = (row for row in inductive if (row["direction"], row["metric"]) == ("text->video", "R@10"))
    assert row["mean"] == pytest.approx(np.mean([(better(seed) < 10).mean() for seed in (0, 1)]))
    assert (row["seeds"], row["folds"], row["split"]) == (2, 1, "test")
    assert "inductive" not in json.loads(render_json([Run(make_space("joint")[0])]))


def test_a_smaller_gallery_lacks_some_k():
    assert SIZE > 10
    group = table_of({"method": "joint", "bank": BANK}).groups[0]
    assert bank_stat(group, "test", "text->video", "R@50") is None
