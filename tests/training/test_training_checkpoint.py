"""Checkpoints: every bit comes back, later changes do not, errors are told."""

import errno
import math
import threading
from pathlib import Path

import pytest
import torch

from awase.training import checkpoint
from awase.training.checkpoint import CheckpointWriter, read_checkpoint, write_checkpoint

TENSORS = {
    "weights|a": torch.tensor([[math.pi, -0.0, math.inf], [math.nan, 1e-45, 3.0]]),
    "optimiser|a|step": torch.tensor(5.0),
    "random|cpu": torch.arange(256, dtype=torch.uint8),
    "weights|half": torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
    "weights|none": torch.zeros(0, 3),
}
FACTS = {"progress": {"loss_sum": 0.1 + 0.2, "best": None, "tiny": 5e-324, "odd": math.nan, "curve": [{"x": 1 / 3}]}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint" / "checkpoint.safetensors"


def test_every_bit_comes_back(path):
    write_checkpoint(path, dict(TENSORS), FACTS)
    found = read_checkpoint(path)
    assert set(found.tensors) == set(TENSORS)
    for name, value in TENSORS.items():
        got = found.tensors[name]
        assert (got.dtype, got.shape) == (value.dtype, value.shape)
        assert torch.equal(got.reshape(-1).view(torch.uint8), value.reshape(-1).view(torch.uint8))
    progress = found.facts["progress"]
    assert math.isnan(progress.pop("odd"))
    assert progress == {key: value for key, value in FACTS["progress"].items() if key != "odd"}


def test_no_file_no_checkpoint(path):
    assert read_checkpoint(path) is None


def test_later_changes_are_not_seen(path, monkeypatch):
    """The file is written only after the tensors were changed in place."""
    changed = threading.Event()
    real = checkpoint.save_file

    def late(*args, **kwargs):
        assert changed.wait(10)
        real(*args, **kwargs)

    monkeypatch.setattr(checkpoint, "save_file", late)
    writer = CheckpointWriter(path)
    weight = torch.nn.Parameter(torch.ones(5))
    transposed = torch.arange(6.0).reshape(2, 3).T
    facts = {"step": 1}
    writer.save({"weight": weight, "transposed": transposed}, facts)
    with torch.no_grad():
        weight.zero_()
    transposed.zero_()
    facts["step"] = 2
    changed.set()
    writer.close()
    found = read_checkpoint(path)
    assert torch.equal(found.tensors["weight"], torch.ones(5))
    assert torch.equal(found.tensors["transposed"], torch.arange(6.0).reshape(2, 3).T)
    assert found.facts == {"step": 1}


def test_the_last_one_saved_is_on_disk(path):
    writer = CheckpointWriter(path)
    for step in range(5):
        writer.save({"x": torch.full((3,), float(step))}, {"step": step})
    writer.wait()
    assert read_checkpoint(path).facts == {"step": 4}
    writer.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def full_disk(*args: object, **kwargs: object) -> None:
    Path(str(args[1])).write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("how", ["save", "wait", "close"])
def test_an_error_is_raised_at_the_next_call_and_the_old_file_stays(path, monkeypatch, how):
    writer = CheckpointWriter(path)
    writer.save({"x": torch.zeros(3)}, {"step": 0})
    writer.wait()
    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    writer.save({"x": torch.ones(3)}, {"step": 1})
    again = {"save": lambda: writer.save({"x": torch.ones(3)}, {}), "wait": writer.wait, "close": writer.close}
    with pytest.raises(OSError, match=r"Could not write .*checkpoint.safetensors \(No space left on device\)"):
        again[how]()
    writer.close()
    assert read_checkpoint(path).facts == {"step": 0}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_tensors_that_cannot_be_written_are_our_own_mistake(path):
    with pytest.raises(RuntimeError, match="share memory"):
        checkpoint.write_tensors(path, dict.fromkeys("ab", torch.zeros(3)))
    assert not path.exists()
