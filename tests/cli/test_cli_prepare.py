"""`awase data prepare`: what it prints, what it refuses, and that a run starts from what it wrote."""

import json
from pathlib import Path

import pytest
from calls import assert_refused, call, files
from clips import LABELS, write_clip

CLASSES = ("Bark", "Violin, fiddle")


@pytest.fixture(scope="module")
def ave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventeen events of AVE, in CRLF; one test video is missing and one is also in train."""
    root = tmp_path_factory.mktemp("AVE_Dataset")
    (root / "AVE").mkdir()
    for name, number in (("train", 8), ("val", 4), ("test", 5)):
        lines = [f"{CLASSES[n % 2]}&{name}{n:07d}&good&0&10" for n in range(number)]
        for n in range(number):
            if (name, n) != ("test", 4):
                write_clip(root / "AVE" / f"{name}{n:07d}.mp4", LABELS[n % 2], n)
        if name == "train":
            lines.append("Bark&test0000000&good&0&4")
        (root / f"{name}Set.txt").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    return root


def test_it_prints_counts_leaks_missing_files_and_notes(ave, tmp_path):
    result = call("data", "prepare", "ave", "--root", ave, "--out", tmp_path / "out")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].startswith("ave: 18 rows, 28 classes, in the order: ")
    assert lines[1] == f"written: {tmp_path / 'out' / 'manifest.csv'}"
    published = "train 9 of 3339 published, val 4 of 402 published, test 5 of 402 published"
    assert f"splitting published: {published}; groups in more than one split: 1" in lines
    honest = "splitting honest (the column split): train 8, val 4, test 5, in no split 1"
    assert f"{honest}; groups in more than one split: 0" in lines
    assert "missing clip: 1 of 18 (test0000004_0_10)" in lines
    assert any(line.startswith("note: 1 videos are in more than one published split") for line in lines)
    assert any(line.startswith("note: ") and "AudioSet" in line for line in lines)


def test_json_is_what_was_written(ave, tmp_path):
    out = tmp_path / "out"
    result = call("data", "prepare", "ave", "--root", ave, "--out", out, "--option", "part=event", "--json")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    written = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert document == written | {"folder": str(out)}
    assert (document["options"], document["columns"]["times"]) == ({"part": "event"}, True)
    assert files(out) == ["dataset.json", "manifest.csv"]


def test_rows_without_files_are_left_out_when_asked(ave, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("data", "prepare", "ave", "--root", ave, "--drop-missing")
    assert (result.code, result.err) == (0, "")
    assert "left out, without any file: 1 (test0000004_0_10)" in result.out
    assert result.out.startswith("ave: 17 rows")
    assert files(tmp_path) == ["prepared/ave/dataset.json", "prepared/ave/manifest.csv"]


def test_the_table_can_be_checked_and_would_start_a_run(ave, tmp_path):
    assert call("data", "prepare", "ave", "--root", ave, "--out", tmp_path).code == 0
    settings = {"data.group_column": "group", "data.inputs.video.height": 16, "data.inputs.video.width": 24}
    changes = [part for path, value in settings.items() for part in ("--set", f"{path}={value}")]
    result = call("data", "check", tmp_path / "manifest.csv", *changes)
    assert result.code == 0, result.out + result.err
    assert "A run would start." in result.out
    assert "groups in more than one split: 0" in result.out
    assert "unreadable video: 1 (no such file: 1)" in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch", "--root", "."], ["'nosuch'", "ave, kinetics_sounds, cremad"]),
        (["ave", "--root", "nosuch"], ["no folder nosuch"]),
        (["ave", "--root", "."], ["trainSet.txt, valSet.txt, testSet.txt", "AVE/<video>.mp4"]),
        (["cremad", "--root", "."], ["AudioWAV/*.wav", "VideoFlash/*.flv"]),
        (["kinetics_sounds", "--root", "."], ["my_train.txt", "folders named by class"]),
        (["ave", "--root", ".", "--option", "fold=1"], ["no option 'fold'", "annotations, part"]),
        (["ave", "--root", ".", "--option", "part"], ["'part'", "key=value"]),
        (["cremad", "--root", ".", "--option", "folds=x"], ["folds = 'x'", "integer"]),
        (["ave"], ["--root", "awase data prepare --help"]),
    ],
)
def test_requests_that_cannot_be_met_are_refused(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(call("data", "prepare", *arguments), *words)
    assert files(tmp_path) == []


def test_lists_without_a_single_video_are_refused(ave, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    for path in ave.glob("*.txt"):
        (lists / path.name).write_bytes(path.read_bytes())
    result = call("data", "prepare", "ave", "--root", lists, "--out", tmp_path / "out")
    assert_refused(result, "None of the media files of the 18 rows", "train0000000.mp4")
    assert not (tmp_path / "out").exists()
