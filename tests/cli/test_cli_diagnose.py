"""`awase diagnose` as it is called: a verdict in words, one JSON document, a page."""

import json

import pytest
from calls import assert_refused, call, reading_rows, run_arguments, write_jsonl


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of 61 training and 31 validation rows whose readings and words both tell the label."""
    folder = tmp_path_factory.mktemp("diagnosed")
    table = write_jsonl(folder / "readings.jsonl", reading_rows(("train",) * 61 + ("val",) * 31 + ("test",) * 29))
    result = call(*run_arguments(table, folder, "--set", "joint.epochs=3"))
    assert result.code == 0, result.err
    return folder


def arguments(run, *more):
    return ["diagnose", run / "out" / "joint" / "seed-0", "--device", "cpu", "--cache", run / "cache", *more]


def test_words_a_page_and_json(run, tmp_path):
    page = tmp_path / "diagnosis.html"
    result = call(*arguments(run, "--out", page))
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "readings, joint, seed 0: diagnosis on val"
    assert lines[-1] == str(page)
    assert "linear probe, joint model" in result.out
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    document = json.loads(call(*arguments(run, "--json")).out)
    assert document["verdict"] == lines[1]
    assert set(document["modalities"]) == {"reading", "text"}
    assert document["split"] == "val"


def test_test_is_looked_at_only_when_asked_and_the_look_is_recorded(run):
    record = run / "out" / "joint" / "seed-0" / "record.json"
    assert call(*arguments(run)).code == 0
    assert json.loads(record.read_text())["test_looks"] == []
    assert call(*arguments(run, "--split", "test", "--json")).code == 0
    assert call(*arguments(run, "--split", "test", "--json")).code == 0
    assert [look["by"] for look in json.loads(record.read_text())["test_looks"]] == ["diagnose"]


def test_wrong_requests_are_refused(run, tmp_path):
    assert_refused(call(*arguments(run, "--split", "train")), "'train'", "val or on test")
    assert_refused(call("diagnose", tmp_path), "record.json")
