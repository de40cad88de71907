"""The section of a report about a stream of data sets, from made-up runs with known scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_records import make_record

from awase.records import StreamNumber, StreamRecord, write_record
from awase.report.groups import tabulate
from awase.report.load import load
from awase.report.page import render_html
from awase.report.stream import StreamTable, stream_tables
from awase.report.text import render_markdown
from awase.statistics import STREAM_NAME, StreamHits, join_hits, read_hits, write_hits

NAMES = ("sea", "hill")
CLASSES = {"sea": ("rain", "train"), "hill": ("violin", "dog", "speech")}
ROWS = {"sea": 20, "hill": 40}
# Method -> stage -> data set -> rows that are right, of those above, when the data set is known; half of it when not.
RIGHT: dict[str, dict[str, dict[str, int]]] = {
    "joint": {"joint": {"sea": 18, "hill": 32}},
    "naive": {"sea": {"sea": 16, "hill": 12}, "hill": {"sea": 4, "hill": 36}},
    "bank": {"sea": {"sea": 16, "hill": 12}, "hill": {"sea": 16, "hill": 28}},
    "alone": {"sea": {"sea": 16, "hill": 4}, "hill": {"sea": 2, "hill": 38}},
}
KIND = {"joint": "joint", "alone": "alone"}


def write_run(folder: Path, name: str, seed: int) -> None:
    stages, numbers, hits = RIGHT[name], list[StreamNumber](), list[StreamHits]()
    for stage, scores in stages.items():
        for data_set, right in scores.items():
            for known in (True,) if name == "bank" else (False, True):
                size, count = ROWS[data_set], right if known else right // 2
                flags = np.arange(size) < count
                numbers += [
                    StreamNumber(
                        stage=stage, split=split, data_set=data_set, known=known, accuracy=count / size, count=size
                    )
                    for split in ("val", "test")
                ]
                ids = tuple(f"{data_set}-{row}" for row in range(size))
                hits.append(StreamHits(ids, (stage,) * size, (data_set,) * size, np.full(size, known), flags))
    trained = {
        stage: NAMES if name == "joint" else (stage,) if name == "alone" else NAMES[: k + 1]
        for k, stage in enumerate(stages)
    }
    record = StreamRecord(
        data_sets=NAMES, classes=CLASSES, trained=trained, kind=KIND.get(name, "sequence"), numbers=tuple(numbers)
    )
    method = {"method": "joint" if name == "joint" else "continual", "settings": {"policy": name}}
    made = make_record("joint", seed)
    run = folder / name / f"seed-{seed}"
    changed: dict[str, Any] = {"method": name, "stream": record, "config": {**made.config, "method": method}}
    write_record(run, made.model_copy(update=changed))
    write_hits(run / STREAM_NAME, join_hits(hits))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in RIGHT:
        for seed in (0, 1):
            write_run(tmp_path, name, seed)
    return tmp_path


def tables(runs: Path) -> dict[bool, StreamTable]:
    (table,) = tabulate(load([runs])).tables
    return {one.known: one for one in stream_tables(table)}


def test_the_measures_are_those_of_the_scores(runs: Path) -> None:
    aware = tables(runs)[True]
    assert (aware.joint, aware.naive) == ("joint", "naive")
    lines = {line.group.method: line for line in aware.lines}
    naive, bank = lines["naive"], lines["bank"]
    assert naive.metrics is not None
    assert naive.metrics.average == pytest.approx((0.2 + 0.9) / 2)
    assert naive.metrics.forgetting == pytest.approx(0.6)
    assert naive.metrics.backward == pytest.approx(-0.6)
    assert naive.metrics.forward == pytest.approx(0.3 - 1 / 3)
    assert naive.metrics.intransigence == pytest.approx((0.9 - 0.8 + 0.8 - 0.9) / 2)
    assert naive.average is not None
    assert naive.average.mean == pytest.approx(0.55)  # of the data sets, not of the rows, of which one has more
    assert naive.average.low < 0.55 < naive.average.high
    assert bank.difference is not None
    assert bank.difference.difference == pytest.approx((0.8 + 0.7) / 2 - 0.55)
    assert bank.closed == pytest.approx((0.75 - 0.55) / (0.85 - 0.55))
    assert naive.closed is None
    (first, _) = bank.intervals
    assert first is not None
    assert first.backward is not None
    assert (first.backward.low, first.backward.high) == (0.0, 0.0)
    assert [stat.mean for stat in lines["alone"].scores[0] if stat is not None] == [0.8, 0.95]


def test_what_must_be_told_the_data_set_is_in_the_task_aware_table_alone(runs: Path) -> None:
    found = tables(runs)
    assert {line.group.method for line in found[True].lines} == set(RIGHT)
    assert {line.group.method for line in found[False].lines} == {"joint", "naive"}
    naive = next(line for line in found[False].lines if line.group.method == "naive")
    assert naive.metrics is not None
    assert naive.metrics.forward == pytest.approx(0.15 - 1 / 5)


def test_both_namings_are_printed_apart(runs: Path) -> None:
    text, page = render_markdown(load([runs])), render_html(load([runs]))
    for title in ("task-agnostic: accuracy after every stage", "task-aware: measures"):
        assert title in text
    assert "| naive, after hill | 20.0 ± 0.0 | 90.0 ± 0.0 | 55.0 |" in text
    assert "| alone | 80.0 ± 0.0 | 95.0 ± 0.0 | 87.5 |" in text
    assert page.count("<h4>Task-a") == 2
    assert "naive: every data set" in page


def test_without_the_files_there_are_scores_and_no_intervals(runs: Path) -> None:
    for file in runs.rglob(STREAM_NAME):
        file.unlink()
    line = next(one for one in tables(runs)[True].lines if one.group.method == "naive")
    assert line.metrics is not None
    assert line.metrics.average == pytest.approx(0.55)
    assert (line.average, line.intervals, line.difference) == (None, (None, None), None)


def test_hits_are_read_as_they_were_written(tmp_path: Path) -> None:
    hits = StreamHits(("a", "b"), ("s", "s"), ("x", "y"), np.array([True, False]), np.array([False, True]), ("g", "h"))
    write_hits(tmp_path / STREAM_NAME, hits)
    found = read_hits(tmp_path)
    assert (
        found.parts() == hits.parts() == {("s", "x", True): {"a": (False, "g")}, ("s", "y", False): {"b": (True, "h")}}
    )
    with pytest.raises(FileNotFoundError, match="holds no stream"):
        read_hits(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="one entry per row"):
        StreamHits(("a",), (), (), np.array([True]), np.array([True]))
