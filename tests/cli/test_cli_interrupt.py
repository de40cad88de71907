"""A run in another process: nobody else may work in its folder, and Ctrl-C leaves it ready to go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from calls import assert_refused, call, files, run_arguments

from awase.records import read_record

DEADLINE_S = 120


def start(arguments: list[object]) -> subprocess.Popen[str]:
    # A shell that starts the tests in the background lets its children ignore SIGINT; a terminal does not.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listen}; from awase.cli.main import main; main()"
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy())


def stop_after(process: subprocess.Popen[str], curve: Path, epochs: int) -> None:
    """Halts the process, without its knowledge, when so many epochs are over."""
    deadline = time.monotonic() + DEADLINE_S
    while not curve.is_file() or curve.read_text().count("\n") < epochs:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGSTOP)


def test_a_folder_in_use_is_refused_and_ctrl_c_leaves_a_run_that_goes_on(readings, tmp_path):
    slow = ["--set", "unimodal.epochs=150", "--checkpoint-every-s", 0]
    long = run_arguments(readings, tmp_path, *slow, method="reading")
    curve = tmp_path / "out" / "reading" / "seed-0" / "metrics.jsonl"
    process = start(long)
    try:
        stop_after(process, curve, 3)
        assert_refused(call(*long), "in use", f"process {process.pid}", "--out")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert (out, err) == ("", "awase: interrupted; the same command goes on from here.\n")
    assert not list(tmp_path.rglob("record.json"))
    assert not [name for name in files(tmp_path) if ".tmp" in name or ".part" in name]
    before = curve.read_text().splitlines()
    assert len(before) < 150

    assert call(*long).code == 0
    after = curve.read_text().splitlines()
    assert len(after) == 150
    assert after[: len(before) - 1] == before[:-1]  # the times of the epochs too: they were not trained again
    assert read_record(curve.parent).status == "done"
    assert list(tmp_path.glob("cache/stages/*/checkpoint")) == []
