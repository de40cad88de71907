import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from page_checker import Checker
from report_records import METHODS, all_records, make_record, write_runs

from awase.report import Run, load, numbers, render_html, render_json, render_latex, render_markdown, rows
from awase.report.groups import Stat, tabulate
from awase.report.html import Html, table, text
from awase.report.learning import shared_stages


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs")
    failed = make_record("broken", status="failed", metrics=(), notes=("NaN loss at step 31",))
    write_runs(folder, [*all_records(), failed], num=83)
    return render_html(load([folder]))


@pytest.fixture(scope="module")
def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    return checker


def test_page_is_well_formed_and_complete(checked: Checker, page: str):
    assert checked.open == []
    for words in ("Result", "Comparison", "Modalities", "Learning curves", "Confusion matrix", "Settings"):
        assert f"<h3>{words}</h3>" in page
    for method in METHODS:
        assert f'<th scope="row">{method}</th>' in page
    assert "NaN loss at step 31" in page
    assert "72.0 ± 1.0" in page
    assert "awase run scenes --seed 0 --seed 1 --seed 2" in page


def test_page_asks_nothing_of_the_network(checked: Checker, page: str):
    assert all(address.startswith(("#", "data:")) for address in checked.addresses)
    for word in ("<script", "<link", "@import", "url(http"):
        assert word not in page


def test_figures_say_what_they_show_and_names_come_once(checked: Checker):
    # one comparison, six distinct stages that learned, one confusion matrix
    assert len(checked.labels) == 8
    assert checked.labels[0].startswith("Test accuracy, % by method: audio 58.0 ± 1.0; video")
    assert len(checked.ids) == len(set(checked.ids))


def test_the_same_records_give_the_same_page(tmp_path: Path):
    write_runs(tmp_path, [make_record("ume", seed) for seed in (0, 1)], num=11)
    assert render_html(load([tmp_path])) == render_html(load([tmp_path]))


def test_text_of_others_is_escaped():
    name = "<script>alert('x')</script> & 50 % of $x_1$"
    run = Run(make_record(name, dataset=name, notes=(name,), classes=(name, "音", "b")))
    assert "<script" not in render_html([run], title=name)
    latex = render_latex([run])
    assert r"\textless{}script\textgreater{}" in latex
    assert r"\& 50 \% of \$x\_1\$" in latex
    assert "a\\|b" in render_markdown([Run(make_record("a|b\nc"))])


def test_names_in_any_script_are_drawn(tmp_path: Path):
    write_runs(
        tmp_path, [make_record("合わせ", seed, classes=("雨", "شعر", "скрипка", "dog", "$x_1$")) for seed in (0, 1)]
    )
    assert "雨" in render_html(load([tmp_path]))


def test_page_without_finished_runs():
    page = render_html([Run(make_record(status="failed", metrics=()))])
    assert "No finished run" in page
    assert "Failed, not counted: scenes, mmlora, seed 0" in page


def test_page_of_a_bare_record():
    bare = make_record(
        "x", stages=(), metrics=(), config={}, data={}, weights={}, versions={}, hardware={}, chosen={}, notes=()
    )
    assert "the only setting" in render_html([Run(bare)])


def test_json_is_the_rows():
    runs = [Run(record) for record in all_records()]
    assert json.loads(render_json(runs)) == {"rows": rows(runs)}


def test_markdown_and_latex_have_a_line_per_method():
    runs = [Run(record) for record in all_records()]
    lines = [line for line in render_markdown(runs).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(METHODS)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    body = [line for line in render_latex(runs).splitlines() if line.endswith(r"\\")]
    assert len(body) == 1 + len(METHODS)
    assert len({line.count(" & ") for line in body}) == 1


def test_shared_stages_are_shown_once():
    found = shared_stages(tabulate([Run(r) for r in all_records()]).tables[0], lambda stage: bool(stage.curve))
    names = [(stage.name, len(stage.methods), len(stage.results)) for stage in found]
    assert names[:2] == [("audio", 5, 3), ("video", 5, 3)]
    assert sorted(name for name, _, _ in names[2:]) == ["adapters", "joint", "joint", "linear"]


def test_report_imports_no_torch():
    code = "import sys, awase.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_numbers_in_fitting_units():
    assert [numbers.count(n) for n in (950.0, 35712.0, 223511.0, 11_180_000.0)] == ["950", "35.7 k", "224 k", "11.2 M"]
    assert [numbers.seconds(s) for s in (0.42, 48.0, 721.0, 12_300.0)] == ["0.4 s", "48 s", "12 min", "3.4 h"]
    assert [numbers.memory(m) for m in (412.0, 2150.0)] == ["412 MiB", "2.1 GiB"]
    assert numbers.stat(Stat(0.712, None, {0: 0.712}), "accuracy") == "71.2"
    assert numbers.stat(Stat(1.5, 0.25, {}), "loss") == "1.500 ± 0.250"
    assert numbers.signed(-0.0123, "accuracy") == "−1.2"
    assert numbers.value(None, "accuracy") == "–"


def test_html_pieces():
    assert text("<b>") == "&lt;b&gt;"
    assert text(Html("<b>")) == "<b>"
    found = table(["a", "b", "c"], [["x", "1.5 ± 2", "words"], ["y", "–", "3 words"]], caption="t", marked=[1])
    assert '<th class="number">b</th><th class="words">c</th>' in found
    assert found.count('<tr class="marked">') == 1
