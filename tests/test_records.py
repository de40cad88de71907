"""Records: every number comes back, and another version is refused."""

import json
import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from awase.records import Epoch, Metric, Record, StageRecord, find_records, read_record, write_record

STAGE = StageRecord(
    name="audio",
    hash="ab" * 16,
    reused=False,
    trained_parts=("audio.encoder", "audio.head"),
    trainable_parameters=11,
    total_parameters=13,
    seconds=0.1 + 0.2,
    peak_memory_mib=17.5,
    best_epoch=0,
    still_improving=False,
    curve=(Epoch(epoch=0, train_loss=1 / 3, val_loss=5e-324, val_metric=0.7, learning_rate=1e-3, seconds=2.0),),
    guards={"video": {"before": 0.5, "after": 0.4}},
    probes={"audio": 2 / 3},
)
RECORD = Record(
    status="done",
    experiment="clips",
    method="mmlora",
    dataset="合わせ",
    seed=3,
    fold=None,
    selection_metric="accuracy",
    metrics=(Metric(split="test", name="accuracy", value=1 / 7, condition="only:audio", count=7),),
    stages=(STAGE,),
    derived={"weights": {"audio": 1.25}},
    settings_tried=2,
    chosen={"changes": {}, "tried": []},
    trainable_parameters=11,
    total_parameters=13,
    seconds=1.5,
    peak_memory_mib=17.5,
    published=71.0,
    config={"experiment": {"name": "clips"}},
    data={"fingerprint": "f00d"},
    weights={"audio": {"name": "small_cnn", "corpus": None}},
    classes=("no", "yes"),
    versions={"torch": "2"},
    hardware={"cores": 2},
    commit=None,
    dirty=None,
    started="2030-01-01T00:00:00+00:00",
    finished="2030-01-01T00:01:00+00:00",
)


def test_a_record_comes_back_exactly(tmp_path):
    path = write_record(tmp_path / "run", RECORD)
    assert path == tmp_path / "run" / "record.json"
    assert read_record(path) == read_record(tmp_path / "run") == RECORD
    assert path.read_text(encoding="utf-8").endswith("}\n")


def test_another_version_is_refused_before_its_fields_are_read(tmp_path):
    path = write_record(tmp_path, RECORD)
    path.write_text(json.dumps({"format_version": 2, "new_field": 1}))
    with pytest.raises(ValueError, match=r"record.json has format version 2; this awase reads 1\.$"):
        read_record(tmp_path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="format version None"):
        read_record(tmp_path)


def test_a_folder_without_a_record_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no record.json: the folder of a finished run has one\.$"):
        read_record(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no"):
        read_record(tmp_path / "missing.json")


def test_unknown_and_missing_fields_are_refused(tmp_path):
    path = write_record(tmp_path, RECORD)
    document = json.loads(path.read_text(encoding="utf-8"))
    for broken in ({**document, "extra": 1}, {key: value for key, value in document.items() if key != "seed"}):
        path.write_text(json.dumps(broken))
        with pytest.raises(ValidationError):
            read_record(path)


def test_records_are_found_below_folders_once_and_in_order(tmp_path):
    for method, seed in (("ume", 1), ("mmlora", 0), ("ume", 0)):
        folder = tmp_path / "out" / method / f"seed-{seed}"
        write_record(folder, RECORD.model_copy(update={"method": method, "seed": seed}))
    found = find_records([tmp_path / "out", tmp_path / "out" / "ume", tmp_path / "nothing"])
    assert [(record.method, record.seed) for record in found] == [("mmlora", 0), ("ume", 0), ("ume", 1)]


def test_reading_records_needs_no_torch():
    code = "import sys, awase.records, awase.config, awase.vocabulary; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False).returncode == 0
