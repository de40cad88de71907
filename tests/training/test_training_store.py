"""The stage store: whole stages only, whoever asks and whatever happens to the disk."""

import errno
import json
import resource
from pathlib import Path

import pytest
import torch
from filelock import Timeout

from awase.training import checkpoint
from awase.training.store import StageStore

TENSORS = {"heads.audio.weight": torch.arange(15.0).reshape(3, 5), "norm.num_batches_tracked": torch.tensor(7)}
FACTS = {"curve": [{"val_loss": 0.1 + 0.2}], "best_epoch": None}


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    return StageStore(tmp_path / "cache")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_published_is_found(store):
    published = store.publish("abc", TENSORS, FACTS)
    found = store.find("abc")
    assert found.hash == published.hash == "abc"
    assert set(found.tensors) == set(TENSORS)
    assert all(torch.equal(found.tensors[name], value) for name, value in TENSORS.items())
    assert found.facts == published.facts == {"format_version": 1, "hash": "abc", **FACTS}
    assert files(store.root) == {"abc/model.safetensors", "abc/stage.json"}


def test_a_stage_that_trains_nothing_has_no_weights(store):
    store.publish("abc", {}, FACTS)
    assert store.find("abc").tensors == {}
    assert files(store.root) == {"abc/stage.json"}


def test_nothing_is_found_where_nothing_is(store):
    assert store.find("abc") is None
    assert store.sizes() == {}


def test_an_unfinished_stage_is_not_found(store):
    path = store.checkpoint_file("abc")
    checkpoint.write_checkpoint(path, dict(TENSORS), {})
    assert store.find("abc") is None
    checkpoint.write_tensors(store.folder("abc") / "model.safetensors", dict(TENSORS))
    assert store.find("abc") is None
    store.publish("abc", TENSORS, FACTS)
    assert not path.parent.exists()
    assert store.find("abc") is not None


def test_another_format_version_is_refused(store):
    store.publish("abc", TENSORS, FACTS)
    description = store.folder("abc") / "stage.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "format_version": 2}))
    with pytest.raises(ValueError, match=r"format version 2, this awase reads 1; remove the folder"):
        store.find("abc")


def test_one_process_at_a_time_trains_a_stage(store):
    with store.lock("abc"):
        with store.lock("abd"):
            pass
        with pytest.raises(Timeout):
            store.lock("abc").acquire(timeout=0)
    with store.lock("abc"):
        pass


def full_disk(*args: object, **kwargs: object) -> None:
    Path(str(args[1])).write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_nothing_half_written(store, monkeypatch):
    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    with pytest.raises(OSError, match=r"Could not write .*model.safetensors \(No space left on device\); free"):
        store.publish("abc", TENSORS, FACTS)
    assert store.find("abc") is None
    assert files(store.root) == set()
    monkeypatch.undo()
    store.publish("abc", TENSORS, FACTS)
    assert store.find("abc") is not None


def test_a_disk_that_is_full_for_the_description_leaves_no_stage(store, monkeypatch):
    def write(path: Path, *args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write)
    with pytest.raises(OSError, match=r"stage.json \(No space left on device\)"):
        store.publish("abc", TENSORS, FACTS)
    monkeypatch.undo()
    assert store.find("abc") is None
    assert files(store.root) == {"abc/model.safetensors"}


def test_a_real_refusal_of_the_system_is_the_same_sentence(store):
    """The library that writes tensors has an error class of its own; the system's limit on file sizes calls it up."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=r"Could not write .*model.safetensors \(File too large\)") as caught:
            store.publish("abc", {"weight": torch.zeros(4099)}, FACTS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert files(store.root) == set()


def test_publishing_again_replaces(store):
    store.publish("abc", TENSORS, FACTS)
    store.publish("abc", {"other": torch.ones(2)}, {"curve": []})
    assert set(store.find("abc").tensors) == {"other"}
    assert store.find("abc").facts["curve"] == []


def test_sizes_and_removal(store):
    store.publish("abc", TENSORS, FACTS)
    store.publish("abd", {}, FACTS)
    with store.lock("abc"):
        pass
    sizes = store.sizes()
    assert set(sizes) == {"abc", "abd"}
    assert sizes["abd"] == (store.folder("abd") / "stage.json").stat().st_size < sizes["abc"]
    store.remove("abc")
    store.remove("never there")
    assert set(store.sizes()) == {"abd"}
    assert store.find("abc") is None


def test_a_removal_that_is_cut_short_leaves_no_stage(store, monkeypatch):
    store.publish("abc", TENSORS, FACTS)
    monkeypatch.setattr("awase.training.store.shutil.rmtree", lambda *args, **kwargs: None)
    store.remove("abc")
    assert store.find("abc") is None
