"""A table of real clips from the first run to predictions for new clips."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet
import pytest
from calls import assert_refused, call, reading_rows, run_arguments
from clips import LABELS, clip_arguments, clip_rows, write_csv

from awase.records import read_record
from awase.statistics import read_predictions

METHODS = ("audio", "ume", "mmlora")
KEYS = ["experiment", "method", "dataset", "split", "metric", "mean", "std", "seeds", "folds", "published"]


@dataclass(frozen=True)
class Finished:
    """A folder of finished runs, the cache they used, the table they learnt from, and what the command printed."""

    out: Path
    cache: Path
    table: Path
    printed: str


@pytest.fixture(scope="module")
def finished(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    result = call(*clip_arguments(clips, folder, methods=METHODS))
    assert result.code == 0, result.err
    return Finished(folder / "out", folder / "cache", clips, result.out)


def test_a_run_writes_records_predictions_curves_and_a_report(finished):
    for method in METHODS:
        folder = finished.out / method / "seed-0"
        assert read_record(folder).status == "done"
        assert len(read_predictions(folder).of_split("test")) == 5
        assert (folder / "metrics.jsonl").read_text().count("\n") >= 1
        assert f"\n| {method} |" in finished.printed
    assert "mmlora" in (finished.out / "report.html").read_text(encoding="utf-8")


def test_the_same_command_is_done_at_once(finished, clips):
    before = (finished.out / "ume" / "seed-0" / "record.json").read_bytes()
    result = call(*clip_arguments(clips, finished.out.parent, methods=METHODS))
    assert result.code == 0
    assert result.err == f"3 runs are done; see {finished.out / 'report.html'}\n"
    assert (finished.out / "ume" / "seed-0" / "record.json").read_bytes() == before


def test_a_dry_run_lists_the_stages_and_trains_nothing(clips, tmp_path):
    result = call(*clip_arguments(clips, tmp_path, "--dry-run", methods=METHODS))
    assert (result.code, result.err) == (0, "")
    assert "2 classes, 12 train, 4 val, 5 test" in result.out
    assert re.search(r"mmlora: trains video.adapter, audio.adapter, video.head, audio.head: [\d,]+ of", result.out)
    assert re.search(r"ensemble: trains nothing: 0 of", result.out)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache" / "stages").exists()


def test_reports_in_every_format(finished, tmp_path):
    page = call("report", finished.out, "--out", tmp_path / "page.html")
    assert (page.code, page.out) == (0, f"{tmp_path / 'page.html'}\n")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    document = json.loads(call("report", finished.out, "--format", "json").out)
    assert list(document) == ["rows"]
    assert all(list(row) == KEYS for row in document["rows"])
    record = read_record(finished.out / "mmlora" / "seed-0")
    expected = {(m.split, m.name): m.value for m in record.metrics if m.condition == "full"}
    rows = [row for row in document["rows"] if row["method"] == "mmlora"]
    assert {(row["split"], row["metric"]): row["mean"] for row in rows} == expected
    first = rows[0]
    assert (first["experiment"], first["dataset"]) == ("clips", "clips")
    assert (first["std"], first["seeds"], first["folds"], first["published"]) == (None, 1, 1, None)
    assert "| mmlora |" in call("report", finished.out, "--format", "md").out
    assert "\nmmlora &" in call("report", finished.out, "--format", "latex").out
    assert_refused(call("report", finished.out, "--format", "pdf"), "'pdf'", "html, md, latex, json")


def test_evaluating_again_gives_the_numbers_of_the_record_and_is_noted_there(finished):
    run = finished.out / "mmlora" / "seed-0"
    values = {(m.split, m.condition, m.name): m.value for m in read_record(run).metrics}
    again = ["evaluate", run, "--cache", finished.cache, "--json"]
    for split, without in (("test", []), ("test", ["audio"]), ("val", [])):
        result = call(*again, "--split", split, *(part for name in without for part in ("--without", name)))
        assert (result.code, result.err) == (0, "")
        document = json.loads(result.out)
        assert list(document) == ["run", "split", "without", "metrics"]
        condition = f"without:{without[0]}" if without else "full"
        for name, value in document["metrics"].items():
            assert value == pytest.approx(values[split, condition, name], rel=1e-6)
    looks = read_record(run).test_looks
    assert [look["without"] for look in looks] == [[], ["audio"]]
    assert "accuracy" in call("evaluate", run, "--cache", finished.cache, "--split", "val").out
    assert read_record(run).test_looks == looks
    assert_refused(call(*again, "--without", "smell"), "video, audio", "smell")
    assert_refused(call(*again, "--without", "audio", "--without", "video"), "not all")
    assert_refused(call(*again, "--split", "later"), "'later'", "train, val, test")


def test_predictions_for_new_clips(finished, tmp_path):
    """One file is missing, one row has no clip, and there are no labels and no splits."""
    rows = [
        {"id": f"new{n}", "clip": str(finished.table.parent / row["clip"])} for n, row in enumerate(clip_rows()[:6])
    ]
    rows[2]["clip"], rows[4]["clip"] = "nosuch.mp4", ""
    table = write_csv(tmp_path / "new.csv", rows)
    run, file = finished.out / "mmlora" / "seed-0", tmp_path / "predictions.parquet"
    result = call("predict", run, table, "--out", file, "--cache", finished.cache)
    assert result.code == 0, result.err
    assert result.out == f"4 rows: {file}\n"
    found = pyarrow.parquet.read_table(file).to_pylist()
    assert [row["id"] for row in found] == ["new0", "new1", "new3", "new5"]
    classes = read_record(run).classes
    assert [row["label"] for row in found] == [classes[row["predicted"]] for row in found]
    assert set(classes) == set(LABELS)
    assert read_predictions(file).ids == ("new0", "new1", "new3", "new5")


def test_new_rows_without_a_column_the_model_knows(finished, tmp_path):
    run, out = finished.out / "audio" / "seed-0", tmp_path / "p.parquet"
    other = write_csv(tmp_path / "other.csv", [{"id": "a", "words": "hello"}])
    assert_refused(call("predict", run, other, "--out", out, "--cache", finished.cache), "clip", "id, words")
    gone = write_csv(tmp_path / "gone.csv", [{"id": "a", "clip": "nosuch.mp4"}])
    assert_refused(call("predict", run, gone, "--out", out, "--cache", finished.cache), "None of the 1 rows")
    assert not out.exists()


def test_two_methods_are_compared_by_sample(finished):
    result = call("compare", finished.out / "ume", finished.out / "mmlora", "--json")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    records = [read_record(finished.out / method / "seed-0") for method in ("ume", "mmlora")]
    first, second = (next(m.value for m in r.metrics if (m.split, m.name) == ("test", "accuracy")) for r in records)
    assert document["difference"] == pytest.approx(first - second)
    assert (document["items"], document["seeds"], document["left_out"]) == (5, 1, 0)
    assert "Only the first is right" in call("compare", finished.out / "ume", finished.out / "mmlora").out
    refused = call("compare", finished.out / "ume", finished.out / "mmlora", "--metric", "beauty")
    assert_refused(refused, "'beauty'", "'accuracy'")


def test_data_check_counts(clips):
    result = call("data", "check", clips, "--json")
    assert (result.code, result.err) == (0, "")
    facts = json.loads(result.out)
    assert facts["problems"] == []
    assert {split: counts["count"] for split, counts in facts["splits"].items()} == {"train": 12, "val": 4, "test": 5}
    assert facts["splits"]["train"]["classes"] == {"high": 6, "low": 6}
    assert {name: facts["inputs"][name]["kind"] for name in facts["inputs"]} == {"video": "video", "audio": "audio"}
    assert facts["durations_s"]["video"]["median"] == pytest.approx(0.4, abs=0.01)
    text = call("data", "check", clips)
    assert text.code == 0
    assert "train: 12 rows (high 6, low 6)" in text.out
    assert text.out.endswith("A run would start.\n")


def test_predictions_without_one_of_the_columns(readings, tmp_path):
    assert call(*run_arguments(readings, tmp_path, method="ume")).code == 0
    rows = [{"id": row["id"], "text": row["text"]} for row in reading_rows()[:3]]
    table, file = write_csv(tmp_path / "words.csv", rows), tmp_path / "p.parquet"
    result = call("predict", tmp_path / "out/ume/seed-0", table, "--out", file, "--cache", tmp_path / "cache")
    assert (result.code, result.err) == (0, "")
    found = pyarrow.parquet.read_table(file).to_pylist()
    assert [row["id"] for row in found] == ["r0", "r1", "r2"]
    assert all(row["logits_reading"] is None and row["logits"] == row["logits_text"] for row in found)
