"""`awase extract`: what it prints and refuses, and that a killed one goes on to the same bytes."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from calls import assert_refused, call, files
from clips import write_clip

from awase.encoders import build_encoder

DEADLINE_S = 120
SMALL = ("--network", "resnet18", "--short-side", 32, "--device", "cpu")
RANDOM = "awase: the weights of 2d are RANDOM"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 films; the last one is broken, the one before is silent."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(22):
        write_clip(folder / f"f{number:02}.mp4", ("low", "high")[number % 2], number, number < 21, 1.3 + number % 3)
    (folder / "f22.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


def start(arguments: list[object]) -> subprocess.Popen[str]:
    code = "from awase.cli.main import main; main()"
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy())


def kill_after(process: subprocess.Popen[str], out: Path, count: int) -> None:
    """Ends the process without its knowledge when so many feature files are there."""
    deadline = time.monotonic() + DEADLINE_S
    while len(list(out.glob("*/*.npz"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGSTOP)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == -signal.SIGKILL


def test_a_killed_extraction_goes_on_to_the_same_bytes(films: Path, tmp_path: Path) -> None:
    whole = call("extract", films, "--out", tmp_path / "whole", *SMALL, "--quiet")
    assert whole.code == 0
    out = tmp_path / "killed"
    command = ["extract", films, "--out", out, *SMALL, "--quiet"]
    kill_after(start(command), out, 5)
    count = len(list(out.glob("*/*.npz")))
    assert 5 <= count < 43, "killed in the middle"
    assert not (out / "paths.csv").exists()
    resumed = json.loads(call(*command, "--json").out)
    assert (resumed["computed"], resumed["skipped"]) == (43 - count, count)
    assert contents(out) == contents(tmp_path / "whole")


def test_what_it_prints(films: Path, tmp_path: Path) -> None:
    result = call("extract", films, "--out", tmp_path / "out", *SMALL)
    assert result.code == 0
    first, *others = result.out.splitlines()
    assert first == "23 items: 43 features computed, 0 were there, 1 absent, 2 broken"
    assert others[0] == "absent: f21, audio (has no audio track)"
    assert [line.split(" (")[0] for line in others[1:3]] == ["broken: f22, 2d", "broken: f22, audio"]
    assert others[3] == f"Record: {tmp_path / 'out' / 'extract.json'}"
    told = result.err.splitlines()
    assert told[0].startswith(RANDOM)
    assert told[-1] == "extract: 23 of 23 films"
    quiet = call("extract", films, "--out", tmp_path / "out", *SMALL, "--quiet", "--json")
    assert quiet.err.splitlines() == [told[0]], "random weights are named even so"
    facts = json.loads(quiet.out)
    assert (facts["computed"], facts["skipped"], facts["random"]) == (0, 43, ["2d"])
    refused = call("extract", films, "--out", tmp_path / "out", *SMALL, "--no-normalise", "--quiet")
    assert (refused.code, refused.out) == (2, "")
    assert "normalise is True there" in refused.err.splitlines()[-1]


def test_nothing_but_failures_is_a_failure(films: Path, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    shutil.copy(films / "f22.mp4", tmp_path / "films")
    result = call("extract", tmp_path / "films", "--out", tmp_path / "out", *SMALL, "--stream", "audio")
    assert result.code == 1
    assert result.out.startswith("1 items: 0 features computed, 0 were there, 0 absent, 1 broken")


def test_shares_and_parts_of_a_table(films: Path, tmp_path: Path) -> None:
    rows = [["name", "film", "from", "to"], *([f"part-{n}", "f02.mp4", n, n + 1] for n in range(3))]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    columns = ("--column", "film", "--id-column", "name", "--start-column", "from", "--end-column", "to")
    command = ["extract", tmp_path / "t.csv", *columns, "--root", films, "--out", tmp_path / "out", *SMALL, "--quiet"]
    counts = [json.loads(call(*command, "--shard", f"{n}/2", "--json").out)["items"] for n in (1, 2)]
    assert sum(counts) == 3
    for n in range(3):
        with np.load(tmp_path / "out" / f"part-{n}" / f"part-{n}_2d.npz") as archive:
            assert archive["features"].shape == (1, 512)


def test_an_encoder_by_name(films: Path, tmp_path: Path) -> None:
    chosen = ("--stream", "encoder", "--encoder", "small_cnn", "--encoder-kind", "audio", "--window-s", 0.5)
    result = call("extract", films, "--out", tmp_path, *SMALL, *chosen, "--dtype", "float32", "--quiet")
    assert result.code == 0
    assert result.err.startswith("awase: the weights of encoder are RANDOM")
    with np.load(tmp_path / "f01" / "f01_encoder.npz") as archive:
        assert len(archive["features"]) == 5  # 2.3 s and the codec's padding in halves


def test_weights_of_an_encoder_and_of_a_network(films: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from awase.config import EncoderConfig

    encoder = build_encoder(EncoderConfig(name="small_cnn"), kind="image", input_shape=(3, 112, 112), seed=9)
    save_file(encoder.state_dict(), tmp_path / "e.safetensors")
    given = ("--stream", "encoder", "--encoder", "small_cnn", "--weights", tmp_path / "e.safetensors", "--quiet")
    assert call("extract", films, "--out", tmp_path / "out", *SMALL, *given).err == ""
    two = ("--stream", "2d", "--stream", "3d", "--weights", tmp_path / "e.safetensors")
    assert_refused(call("extract", films, "--out", tmp_path / "o", *two), "--weights STREAM=FILE")
    wrong = ("--stream", "2d", "--weights", f"2d={tmp_path / 'e.safetensors'}")
    assert_refused(call("extract", films, "--out", tmp_path / "o", *SMALL, *wrong), "not of 'resnet18'")
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--stream", "5d"), ("'5d'", "2d, 3d, audio, encoder")),
        (("--shard", "3/2"), ("3/2",)),
        (("--stream", "audio", "--weights", "2d=x"), ("'2d'",)),
        (("--weights", "none.safetensors"), ("none.safetensors",)),
        (("--weights", "x", "--pretrained"), ("not both",)),
        (("--stream", "encoder", "--encoder", "small_cnn", "--encoder-options", "[1]"), ("JSON object",)),
        (("--workers", 0), ("workers = 0",)),
        (("--device", "tpu"), ("'tpu'",)),
        (("--column", "film"), ()),
    ],
)
def test_requests_that_are_refused(films: Path, tmp_path: Path, arguments: tuple[object, ...], words) -> None:
    if arguments[0] == "--column":
        assert_refused(call("extract", tmp_path / "none.csv", "--out", tmp_path), "none.csv")
        return
    result = call("extract", films, "--out", tmp_path / "out", "--network", "resnet18", *arguments)
    assert (result.code, result.out) == (2, "")
    assert all(word in result.err.splitlines()[-1] for word in words), result.err
    assert not list(tmp_path.rglob("*.npz"))
