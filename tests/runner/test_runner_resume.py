"""A run killed in the middle of any stage goes on with the same command and ends with the same bits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from awase.records import find_records
from awase.statistics import read_predictions

COMMAND = (sys.executable, "-c", "from awase.cli.main import main; main()", "run")
DEADLINE_S = 120


def command(file: Path, out: Path, cache: Path) -> list[str]:
    options = [
        "--out",
        str(out),
        "--cache",
        str(cache),
        "--threads",
        "1",
        "--device",
        "cpu",
        "--checkpoint-every-s",
        "0",
    ]
    return [*COMMAND, f"{file}::tiny", "--method", "mmlora", *options]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def start(file: Path, out: Path, cache: Path) -> subprocess.Popen[bytes]:
    pipe = subprocess.DEVNULL
    return subprocess.Popen(
        command(file, out, cache), env=environment(), stdout=pipe, stderr=pipe, start_new_session=True
    )


def kill_in_stage(process: subprocess.Popen[bytes], cache: Path, finished: int) -> None:
    """Kills the process when `finished` stages are done and the next one has written a checkpoint."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        done = len(list(cache.glob("stages/*/stage.json")))
        if done >= finished and list(cache.glob("stages/*/checkpoint/*.safetensors")):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return
        assert process.poll() is None, f"the run ended before stage {finished} could be interrupted"
        time.sleep(0.002)
    pytest.fail("no checkpoint was written in time")


def results(out: Path, cache: Path) -> dict[str, object]:
    (record,) = find_records([out])
    weights = {stage.hash: load_file(cache / "stages" / stage.hash / "model.safetensors") for stage in record.stages}
    curves = [[{**e.model_dump(), "seconds": 0} for e in stage.curve] for stage in record.stages]
    predictions = read_predictions(next(out.rglob("predictions.parquet")))
    return {
        "metrics": [m.model_dump() for m in record.metrics],
        "curves": curves,
        "weights": weights,
        "logits": torch.from_numpy(predictions.logits),
        "chosen": record.chosen,
    }


def test_killed_runs_end_with_the_same_bits(experiment_file, tmp_path):
    whole = tmp_path / "whole"
    subprocess.run(
        command(experiment_file, whole, tmp_path / "cache-a"), env=environment(), check=True, timeout=DEADLINE_S
    )
    out, cache = tmp_path / "killed", tmp_path / "cache-b"
    for finished in (0, 1, 2, 3):
        kill_in_stage(start(experiment_file, out, cache), cache, finished)
        assert not list(out.rglob("record.json"))
    subprocess.run(command(experiment_file, out, cache), env=environment(), check=True, timeout=DEADLINE_S)
    expected, found = results(whole, tmp_path / "cache-a"), results(out, cache)
    assert json.dumps(expected["metrics"]) == json.dumps(found["metrics"])
    assert expected["curves"] == found["curves"]
    assert expected["chosen"] == found["chosen"]
    assert torch.equal(expected["logits"], found["logits"])
    assert list(expected["weights"]) == list(found["weights"])
    for address, tensors in expected["weights"].items():
        assert all(torch.equal(value, found["weights"][address][name]) for name, value in tensors.items())
