"""A run's folder: one configuration, one live process."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from awase.records import FORMAT_VERSION, Record, write_record
from awase.runner.folder import RefusedError, claim, differences, locked, run_folder

DOCUMENT = {"experiment": {"joint": {"epochs": 3, "rate": 0.1 + 0.2}, "name": "x"}, "seed": 0, "fold": None}


def some_record(status: str) -> Record:
    return Record(
        status=status,
        experiment="x",
        method="ume",
        dataset="scenes",
        seed=0,
        fold=None,
        selection_metric="accuracy",
        metrics=(),
        stages=(),
        derived={},
        settings_tried=1,
        chosen={},
        trainable_parameters=0,
        total_parameters=0,
        seconds=1.0,
        peak_memory_mib=1.0,
        published=None,
        config={},
        data={},
        weights={},
        classes=("a",),
        versions={},
        hardware={},
        commit=None,
        dirty=None,
        started="",
        finished="",
    )


def test_the_folder_of_a_run():
    assert run_folder(Path("out"), "mmlora", 3, None) == Path("out/mmlora/seed-3")
    assert run_folder(Path("out"), "mmlora", 3, 0) == Path("out/mmlora/seed-3/fold-0")


# ---- configuration -------------------------------------------------------------------------------------------------


def test_the_first_claim_writes_the_configuration_and_the_second_goes_on(tmp_path):
    assert claim(tmp_path / "run", DOCUMENT) is None
    written = (tmp_path / "run" / "config.json").read_bytes()
    assert claim(tmp_path / "run", DOCUMENT) is None
    assert (tmp_path / "run" / "config.json").read_bytes() == written


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({**DOCUMENT, "seed": 1}, "seed"),
        (
            {**DOCUMENT, "experiment": {"joint": {"epochs": 4, "rate": 0.1 + 0.2}, "name": "y"}},
            "experiment.joint.epochs, experiment.name",
        ),
        ({**DOCUMENT, "experiment": None}, "experiment"),
        ({**DOCUMENT, "added": None}, "added"),
        ({key: value for key, value in DOCUMENT.items() if key != "fold"}, "fold"),
    ],
)
def test_another_configuration_is_refused_by_name(tmp_path, changed, fields):
    claim(tmp_path, DOCUMENT)
    with pytest.raises(RefusedError, match=re.escape(f"(it differs in {fields}); choose another folder with --out")):
        claim(tmp_path, changed)
    assert claim(tmp_path, DOCUMENT) is None


def test_a_finished_run_is_given_back_and_a_failed_one_is_not(tmp_path):
    claim(tmp_path, DOCUMENT)
    write_record(tmp_path, some_record("failed"))
    assert claim(tmp_path, DOCUMENT) is None
    write_record(tmp_path, some_record("done"))
    assert claim(tmp_path, DOCUMENT) == some_record("done")
    assert FORMAT_VERSION == 1


def test_differences_are_dotted_paths():
    assert differences(DOCUMENT, DOCUMENT) == set()
    assert differences({"a": {"b": 1, "c": [1]}}, {"a": {"b": 1, "c": [2]}}) == {"a.c"}
    assert differences({"a": {"b": 1}}, {"a": 3}) == {"a"}
    assert differences(1, 2) == {"everything"}


# ---- the lock ------------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from awase.runner.folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A live process that works in the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_live_process_is_named_and_its_lock_ends_with_it(tmp_path, holder):
    folder = tmp_path / "run"
    with pytest.raises(RefusedError, match=rf"in use by another run \(process {holder.pid}\).*--out"), locked(folder):
        raise AssertionError("two processes work in one folder")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(folder):
        assert (folder / ".lock.pid").read_text() == str(os.getpid())


def test_the_lock_is_given_back_also_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="inside"), locked(tmp_path):
            raise RuntimeError("inside")
    assert not (tmp_path / ".lock.pid").exists()


def test_one_process_does_not_enter_twice(tmp_path):
    with locked(tmp_path), pytest.raises(RefusedError, match=f"process {os.getpid()}"), locked(tmp_path):
        raise AssertionError("entered twice")


def test_a_refused_run_leaves_the_others_mark(tmp_path):
    with locked(tmp_path):
        with pytest.raises(RefusedError), locked(tmp_path):
            pass
        assert (tmp_path / ".lock.pid").read_text() == str(os.getpid())
