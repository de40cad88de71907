"""What happens to a run that cannot go on: full disks, losses that are no numbers, weights of another run."""

import errno
import json
import os
import pickle
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
from calls import assert_refused, call, files, reading_rows, run_arguments, write_jsonl
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import awase.training.checkpoint
from awase.records import read_record


@pytest.fixture
def finished(readings: Path, tmp_path: Path) -> Path:
    """The folder of a finished run; its cache lies beside `out`."""
    assert call(*run_arguments(readings, tmp_path)).code == 0
    return tmp_path / "out" / "joint" / "seed-0"


# ---- a full disk -----------------------------------------------------------------------------------------------------


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_in_rust(*_: object, **__: object) -> None:
    raise SafetensorError(f"Error while serializing: I/O error: No space left on device (os error {errno.ENOSPC})")


class FullFile:
    """A file that can be opened and closed."""

    def __enter__(self) -> "FullFile":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    write = full


def full_samples(monkeypatch):
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **k: FullFile() if self.name == "samples.bin" else opened(self, *a, **k)
    )


def full_text(name):
    def patch(monkeypatch):
        write = Path.write_text
        monkeypatch.setattr(
            Path, "write_text", lambda self, *a, **k: full() if f".{name}." in self.name else write(self, *a, **k)
        )

    return patch


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (full_samples, ["cache", "is full", "reading"]),
        (lambda patch: patch.setattr(awase.training.checkpoint, "save_file", full_in_rust), ["safetensors", "space"]),
        (full_text("stage.json"), ["stage.json", "space"]),
        (full_text("config.json"), ["config.json", "space"]),
        (lambda patch: patch.setattr(pyarrow.parquet, "write_table", full), ["predictions.parquet", "space"]),
        (full_text("record.json"), ["record.json", "space"]),
    ],
    ids=["samples", "weights", "stage", "config", "predictions", "record"],
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(fill, words, readings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fill(patch)
        assert_refused(call(*run_arguments(readings, tmp_path, "--checkpoint-every-s", 0)), *words)
    assert not [name for name in files(tmp_path) if ".tmp" in name or ".part" in name]
    assert not list(tmp_path.rglob("record.json"))
    for stage in tmp_path.glob("cache/stages/*/stage.json"):
        load_file(stage.parent / "model.safetensors")
    assert call(*run_arguments(readings, tmp_path, "--checkpoint-every-s", 0)).code == 0  # there is space again
    assert read_record(tmp_path / "out" / "joint" / "seed-0").status == "done"


def test_a_report_that_cannot_be_written_leaves_the_old_one(finished, tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    page.write_text("old")
    full_text("page.html")(monkeypatch)
    assert_refused(call("report", finished, "--out", page), "page.html", "space")
    assert page.read_text() == "old"


def test_a_file_where_a_folder_is_needed_is_one_sentence(readings, tmp_path):
    (tmp_path / "out").write_text("a file")
    assert_refused(call(*run_arguments(readings, tmp_path)), str(tmp_path / "out"))


# ---- losses that are no numbers --------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_run_and_names_step_and_samples(tmp_path):
    rows = reading_rows()
    rows[9]["reading"] = "[1e38, -1e38, 1e38]"  # finite, but its variance is not
    table = write_jsonl(tmp_path / "readings.jsonl", rows)
    small = ["--set", "unimodal.batch_size=2", "--checkpoint-every-s", 0]
    result = call(*run_arguments(table, tmp_path, *small, method="reading"))
    assert_refused(result, "the run failed", "not finite", "optimiser step", "epoch 0", "samples r9", code=1)
    record = read_record(tmp_path / "out" / "reading" / "seed-0")
    assert record.status == "failed"
    assert "samples r9" in record.notes[0]
    assert record.metrics == ()
    (checkpoint,) = tmp_path.glob("cache/stages/*/checkpoint/checkpoint.safetensors")
    assert all(bool(value.isfinite().all()) for value in load_file(checkpoint).values() if value.is_floating_point())
    assert not list(tmp_path.glob("cache/stages/*/stage.json"))
    again = call(*run_arguments(table, tmp_path, *small, method="reading"))
    assert (again.code, again.err) == (1, result.err)
    report = call("report", tmp_path / "out", "--format", "md")
    assert report.code == 0
    assert "r9" in report.out


# ---- weights of another run ------------------------------------------------------------------------------------------


def stages(folder: Path) -> dict[str, Path]:
    found = (folder / "cache" / "stages").glob("*/stage.json")
    return {json.loads(file.read_text())["name"]: file.parent for file in found}


def test_the_weights_of_another_stage_are_refused(readings, tmp_path):
    assert call(*run_arguments(readings, tmp_path, method="ume")).code == 0
    place = stages(tmp_path)
    shutil.copy(place["text"] / "model.safetensors", place["reading"] / "model.safetensors")
    other = run_arguments(readings, tmp_path, "--out", tmp_path / "other", method="reading")
    assert_refused(call(*other), place["reading"].name, "another model")
    shutil.copy(place["text"] / "stage.json", place["reading"] / "stage.json")
    assert_refused(call(*other), place["reading"].name, "another stage", "remove")
    run = tmp_path / "out" / "ume" / "seed-0"
    assert_refused(call("evaluate", run, "--cache", tmp_path / "cache"), place["reading"].name, "another stage")


def test_damaged_weights_are_refused(readings, tmp_path):
    assert call(*run_arguments(readings, tmp_path, method="reading")).code == 0
    (weights,) = tmp_path.glob("cache/stages/*/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:50])
    other = run_arguments(readings, tmp_path, "--out", tmp_path / "other", method="reading")
    assert_refused(call(*other), str(weights), "damaged", "remove")


@pytest.mark.parametrize("damage", ["other", "half", "no facts"])
def test_a_checkpoint_of_something_else_is_refused(damage, readings, tmp_path):
    run = run_arguments(readings, tmp_path, method="reading")
    assert call(*run).code == 0
    (stage,) = stages(tmp_path).values()
    (stage / "stage.json").unlink()
    (stage / "model.safetensors").unlink()
    checkpoint = stage / "checkpoint" / "checkpoint.safetensors"
    checkpoint.parent.mkdir()
    facts = {} if damage == "no facts" else {"facts": json.dumps({"progress": {}, "updates": 0})}
    save_file({"weights|encoders.text.x": torch.zeros(3)}, checkpoint, metadata=facts)
    if damage == "half":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-5])
    shutil.rmtree(tmp_path / "out")
    assert_refused(call(*run), str(checkpoint), "another model" if damage == "other" else "remove it")
    assert not list(tmp_path.rglob("record.json"))


def test_the_model_of_another_run_is_refused(readings, tmp_path):
    for method in ("reading", "joint"):
        assert call(*run_arguments(readings, tmp_path, method=method)).code == 0
    out = tmp_path / "out"
    shutil.copy(out / "reading" / "seed-0" / "model.json", out / "joint" / "seed-0" / "model.json")
    before = (out / "joint" / "seed-0" / "record.json").read_bytes()
    assert_refused(call("evaluate", out / "joint" / "seed-0", "--cache", tmp_path / "cache"), "another run")
    assert (out / "joint" / "seed-0" / "record.json").read_bytes() == before


def test_a_run_whose_data_has_changed_is_not_measured_again(readings, finished, tmp_path):
    rows = reading_rows()
    rows[-1]["reading"] = "[0, 0, 0]"
    write_jsonl(readings, rows)
    assert_refused(call("evaluate", finished, "--cache", tmp_path / "cache"), "has changed")


def test_stages_that_are_gone_say_where_to_look(finished, tmp_path):
    result = call("evaluate", finished, "--cache", tmp_path / "elsewhere")
    assert_refused(result, str(tmp_path / "elsewhere"), "--cache")


class Trap:
    """A pickle that would leave a file behind when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_pickled_weights_are_not_read(readings, tmp_path):
    folder = tmp_path / "pickled"
    folder.mkdir()
    sprung = tmp_path / "sprung"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    predict = call("predict", folder, readings, "--out", tmp_path / "p.parquet")
    assert_refused(predict, "pytorch_model.bin", "pickle", "model.json")
    encoder = ["--set", f"encoders.reading.pretrained={folder}"]
    assert_refused(call(*run_arguments(readings, tmp_path, *encoder)), "pickle", "--allow-pickle")
    assert_refused(call(*run_arguments(readings, tmp_path, *encoder, "--allow-pickle")), "cannot be built")
    assert not sprung.exists()
    assert not (tmp_path / "out").exists()


def test_pickled_tensors_can_be_allowed(readings, tmp_path):
    assert call(*run_arguments(readings, tmp_path, method="reading")).code == 0
    (stage,) = stages(tmp_path).values()
    start = "encoders.reading."
    tensors = load_file(stage / "model.safetensors")
    own = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
    torch.save(own, tmp_path / "weights.pt")
    encoder = ["--set", f"encoders.reading.pretrained={tmp_path / 'weights.pt'}", "--out", tmp_path / "again"]
    refused = call(*run_arguments(readings, tmp_path, *encoder, method="reading"))
    assert_refused(refused, "weights.pt", "--allow-pickle")
    assert call(*run_arguments(readings, tmp_path, *encoder, "--allow-pickle", method="reading")).code == 0
    record = read_record(tmp_path / "again" / "reading" / "seed-0")
    assert record.weights["reading"]["weights"] == str(tmp_path / "weights.pt")
