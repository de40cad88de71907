"""Tables and media that cannot be used, in part or at all, and odd ones that can."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from calls import assert_refused, call, files, reading_rows, run_arguments, write_jsonl
from clips import RATE_HZ, clip_arguments, clip_rows, tone, write_clip, write_csv

from awase.records import Record, read_record


@pytest.fixture
def own_clips(clips: Path, tmp_path: Path) -> Path:
    """A copy of the clips that a test may break."""
    return Path(shutil.copytree(clips.parent, tmp_path / "own")) / "clips.csv"


def record_of(folder: Path, method: str = "joint") -> Record:
    return read_record(folder / "out" / method / "seed-0")


# ---- tables ----------------------------------------------------------------------------------------------------------


def without_test(rows):
    del rows[18:]


def without_train(rows):
    del rows[:13]


def class_only_in_test(rows):
    rows[-1]["label"] = "perhaps"


def one_class(rows):
    for row in rows:
        row["label"] = "no"


def empty_label(rows):
    rows[3]["label"] = " "


def same_id(rows):
    rows[5]["id"] = "r4"


def odd_split(rows):
    rows[2]["split"] = "later"


def short_array(rows):
    for row in rows:
        row["reading"] = "[1, 2]"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_test, ["'test'", "empty", "data.split_column"]),
        (without_train, ["'train'", "empty"]),
        (class_only_in_test, ["'perhaps'", "test", "no training row"]),
        (one_class, ["1 class", "2"]),
        (empty_label, ["no label", "rows 4"]),
        (same_id, ["more than once", "'r4'"]),
        (odd_split, ["'later'", "train, training, val"]),
        (short_array, ["reading", "r0"]),
    ],
)
def test_tables_that_cannot_be_learnt_from_are_refused(change, words, tmp_path):
    rows = reading_rows()
    change(rows)
    table = write_jsonl(tmp_path / "readings.jsonl", rows)
    assert_refused(call(*run_arguments(table, tmp_path)), *words)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_a_label_outside_the_set_is_refused(readings, tmp_path):
    classes = ["--set", 'data.classes=["no", "maybe"]']
    assert_refused(call(*run_arguments(readings, tmp_path, *classes)), "'yes'", "data.classes", "'no', 'maybe'")
    assert files(tmp_path) == ["readings.jsonl"]


def test_broken_tables_name_the_row(tmp_path):
    table = tmp_path / "broken.jsonl"
    table.write_text('{"id": "a"}\n{"id": \n', encoding="utf-8")
    assert_refused(call("run", table, "--out", tmp_path / "out"), "Line 2", "broken.jsonl")
    csv_table = tmp_path / "broken.csv"
    csv_table.write_text("id,text,label,split\na,one, two,yes,train\n", encoding="utf-8")
    assert_refused(call("run", csv_table, "--out", tmp_path / "out"), "Row 1", "5 cells", "4")


def test_data_check_says_what_would_stop_a_run(tmp_path):
    rows = reading_rows()
    class_only_in_test(rows)
    table = write_jsonl(tmp_path / "readings.jsonl", rows)
    result = call("data", "check", table, "--json")
    assert result.code == 2
    (problem,) = json.loads(result.out)["problems"]
    assert "'perhaps'" in problem
    text = call("data", "check", table)
    assert text.code == 2
    assert f"PROBLEM: {problem}" in text.out


def test_a_csv_of_any_writer_gives_the_same_rows(readings, tmp_path):
    """A byte order mark, CRLF, quotes, semicolons and spaces change nothing."""
    rows = reading_rows()
    rows[0]["text"] = 'bright "and" loud; with\nbreak'
    plain = write_jsonl(tmp_path / "plain.jsonl", rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=";", lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    odd = tmp_path / "odd.csv"
    odd.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    found = []
    for table in (plain, odd):
        folder = tmp_path / table.stem
        assert call(*run_arguments(table, folder)).code == 0
        record = record_of(folder)
        found.append((record.data["fingerprint"], [m.model_dump() for m in record.metrics]))
    assert found[0] == found[1]


def test_texts_in_any_script_are_read_and_empty_ones_are_missing(tmp_path):
    rows = reading_rows()
    scripts = ["新しい朝", "صباح الخير", "доброе утро", "🎉🎊", "नमस्ते", "e\u0301tude", "x" * 5000]
    for row, text in zip(rows, scripts, strict=False):
        row["text"] = text
    rows[8]["text"] = ""
    rows[20]["text"] = " \t"
    assert call(*run_arguments(write_jsonl(tmp_path / "t.jsonl", rows), tmp_path)).code == 0
    missing = record_of(tmp_path).data["missing"]
    assert missing["reading"]["count"] == 0
    assert [row["id"] for row in missing["text"]["rows"]] == ["r8", "r20"]


# ---- media -----------------------------------------------------------------------------------------------------------


def test_a_truncated_clip_is_masked_and_listed_or_refused(own_clips, tmp_path):
    broken = own_clips.parent / "clip7.mp4"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) * 2 // 3])
    assert call(*clip_arguments(own_clips, tmp_path)).code == 0
    data = record_of(tmp_path).data
    assert [row["id"] for row in data["missing"]["video"]["rows"]] == ["clip7"]
    assert [row["id"] for row in data["missing"]["audio"]["rows"]] == ["clip7"]
    assert "truncated" in data["missing"]["video"]["rows"][0]["reason"]
    assert [row["id"] for row in data["excluded"]["rows"]] == ["clip7"]
    strict = tmp_path / "strict"
    result = call(*clip_arguments(own_clips, strict, "--set", "data.missing=error"))
    assert_refused(result, "'clip7'", "truncated", "data.missing=mask")
    assert not (strict / "out").exists()
    checked = json.loads(call("data", "check", own_clips, "--json").out)
    assert checked["unreadable"]["video"]["count"] == 1
    assert checked["problems"] == []


def test_files_that_are_not_there_are_masked_and_counted(own_clips, tmp_path):
    (own_clips.parent / "clip3.mp4").unlink()
    assert call(*clip_arguments(own_clips, tmp_path)).code == 0
    assert record_of(tmp_path).data["missing"]["video"]["by_reason"] == {"no such file": 1}


def test_a_clip_without_an_audio_track_keeps_its_video(own_clips, tmp_path):
    write_clip(own_clips.parent / "clip4.mp4", "low", sound=False)
    assert call(*clip_arguments(own_clips, tmp_path)).code == 0
    data = record_of(tmp_path).data
    assert data["missing"]["audio"] == {
        "count": 1,
        "by_reason": {"no audio track": 1},
        "rows": [{"id": "clip4", "reason": "no audio track"}],
    }
    assert data["missing"]["video"]["count"] == data["excluded"]["count"] == 0
    assert data["splits"]["train"]["count"] == 12


def test_sounds_shorter_than_the_window_are_filled_or_refused(tmp_path):
    rows = clip_rows()
    for number, row in enumerate(rows):
        row["audio"] = f"{number}.wav"
        del row["clip"]
        seconds = 0.05 if number == 2 else 0.3
        soundfile.write(tmp_path / row["audio"], tone(300 if row["label"] == "low" else 1500, seconds), RATE_HZ)
    table = write_csv(tmp_path / "sounds.csv", rows)
    window = ["--set", "data.inputs.audio.window_s=0.2", "--set", f"data.inputs.audio.sample_rate_hz={RATE_HZ}"]
    run = ["run", table, "--quiet", "--seed", 0, "--threads", 1, "--method", "audio", "--set", "unimodal.epochs=1"]
    for policy, code in (("pad", 0), ("error", 0)):
        folder = tmp_path / policy
        places = ["--out", folder / "out", "--cache", tmp_path / "cache"]
        assert call(*run, *places, *window, "--set", f"data.inputs.audio.short={policy}").code == code
    assert record_of(tmp_path / "pad", "audio").data["missing"]["audio"]["count"] == 0
    (short,) = record_of(tmp_path / "error", "audio").data["missing"]["audio"]["rows"]
    assert short["id"] == "clip2"
    assert "0.050 s" in short["reason"]
    refused = ["--set", "data.inputs.audio.short=error", "--set", "data.missing=error", "--out", tmp_path / "no"]
    assert_refused(call(*run, *window, *refused, "--cache", tmp_path / "cache"), "'clip2'", "0.050 s", "0.200 s")
    assert not (tmp_path / "no").exists()


def test_paths_may_be_absolute_and_relative_to_the_table(clips, tmp_path, monkeypatch):
    rows = clip_rows()
    for number, row in enumerate(rows):
        if number % 2:
            row["clip"] = str(clips.parent / row["clip"])
    mixed = write_csv(clips.parent / "mixed.csv", rows)
    monkeypatch.chdir(tmp_path)
    assert call(*clip_arguments(clips, tmp_path / "a")).code == 0
    assert call(*clip_arguments(mixed, tmp_path / "b")).code == 0
    first, second = record_of(tmp_path / "a"), record_of(tmp_path / "b")
    assert second.data["missing"]["video"]["count"] == 0
    assert [m.value for m in first.metrics] == [m.value for m in second.metrics]
    assert np.isfinite([m.value for m in first.metrics]).all()
