"""The store: exact samples, bounded, shared, and nothing left behind by a failure."""

import errno
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from awase.data import store as module
from awase.data.source import MediaError
from awase.data.store import Request, Store

GIB = 2.0**-30


def request(
    key: str = "k", num_rows: int = 7, shape: tuple[int, ...] | None = (3, 2), read: Callable[[int], Any] | None = None
) -> Request:
    def default(row: int) -> np.ndarray:
        return np.full((3, 2), row, dtype=np.uint8)

    return Request(key, "video", num_rows, shape, read or default, absent="not there")


def folders(path: Path) -> set[str]:
    return {child.name for child in path.iterdir() if child.is_dir()}


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_samples_come_back_exactly_and_are_read_once(tmp_path: Path, threads: int) -> None:
    generator = np.random.default_rng(0)
    samples, calls = generator.normal(size=(11, 5, 3)).astype(np.float32), []

    def read(row: int) -> np.ndarray:
        calls.append(row)
        return samples[row]

    wanted = request("k", 11, (5, 3), read)
    for _ in range(2):
        entry = Store(tmp_path, 1.0).get(wanted, threads)
        assert np.array_equal(entry.take(np.array([4, 0, 10, 4])), samples[[4, 0, 10, 4]])
        assert entry.present.all()
    assert sorted(calls) == list(range(11))
    assert folders(tmp_path) == {"k"}


def test_absent_samples_are_zero_with_their_reasons(tmp_path: Path) -> None:
    def read(row: int) -> np.ndarray | None:
        if row == 2:
            raise MediaError("is truncated")
        return None if row == 4 else np.full((3, 2), row + 1, dtype=np.uint8)

    Store(tmp_path, 1.0).get(request(read=read))
    entry = Store(tmp_path, 1.0).get(request(read=read))
    assert entry.reasons == {2: "is truncated", 4: "not there"}
    assert entry.present.tolist() == [True, True, False, True, False, True, True]
    assert entry.take(np.arange(7))[:, 0, 0].tolist() == [1, 2, 0, 4, 0, 6, 7]


def test_no_sample_at_all_is_stored_too(tmp_path: Path) -> None:
    entry = Store(tmp_path, 1.0).get(request(read=lambda row: None))
    assert not entry.present.any()
    assert entry.take(np.array([1])).shape == (1, 3, 2)


def test_waveforms_of_any_length_are_cut_or_filled(tmp_path: Path) -> None:
    wanted = request("a", 5, None, lambda row: np.full(2 * row + 1, row + 1, dtype=np.float32))
    entry = Store(tmp_path, 1.0).get(wanted)
    assert entry.lengths.tolist() == [1, 3, 5, 7, 9]
    taken = entry.take(np.array([0, 3]), length=4)
    assert taken.tolist() == [[1, 0, 0, 0], [4, 4, 4, 4]]


def test_a_source_that_breaks_its_word_is_caught(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'video' is uint8 \[3, 3\] where"):
        Store(tmp_path, 1.0).get(request(read=lambda row: np.zeros((3, 3), dtype=np.uint8)))
    assert folders(tmp_path) == set()


def test_the_least_recently_used_entry_makes_room(tmp_path: Path) -> None:
    keep = Store(tmp_path, 1.0)
    for age, key in ((300, "old"), (200, "older_use"), (100, "new")):
        entry = keep.get(request(key))
        del entry
        module.os.utime(tmp_path / key, (1e9 - age, 1e9 - age))
    size = module._size(tmp_path / "new")
    keep.get(request("old"))
    # Room for two old ones and the samples of the third.
    Store(tmp_path, GIB * (2 * size + 42)).get(request("third"))
    assert folders(tmp_path) == {"old", "new", "third"}


def test_an_entry_in_use_is_never_removed(tmp_path: Path) -> None:
    held = Store(tmp_path, 1.0).get(request("held"))
    small = Store(tmp_path, GIB * 60)
    with pytest.raises(ValueError, match=r"The decoded 'video' needs .* are in use, and it may hold"):
        small.get(request("other"))
    assert folders(tmp_path) == {"held"}
    assert held.take(np.array([6]))[0, 0, 0] == 6
    del held
    small.get(request("other"))
    assert folders(tmp_path) == {"other"}


@pytest.mark.parametrize("shape", [(3, 2), None])
def test_data_that_cannot_fit_is_refused(tmp_path: Path, shape: tuple[int, ...] | None) -> None:
    def read(row: int) -> np.ndarray:
        return np.zeros(shape or 6, dtype=np.uint8)

    with pytest.raises(ValueError, match=r"Raise the limit with --cache-gib, or make the samples smaller"):
        Store(tmp_path, GIB * 41).get(request("k", 7, shape, read))
    assert folders(tmp_path) == set()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "k.part").mkdir(parents=True)
    (tmp_path / "k.part" / "samples.bin").write_bytes(b"half")
    (tmp_path / "z.part").mkdir()
    (tmp_path / "z.part" / "samples.bin").write_bytes(bytes(1000))
    assert Store(tmp_path, GIB * 500).get(request("k")).present.all()
    assert folders(tmp_path) == {"k"}


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.np, "save", full)
    with pytest.raises(OSError, match=r"The disk of the cache .* is full while 'video' is decoded"):
        Store(tmp_path, 1.0).get(request())
    assert folders(tmp_path) == set()


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def read(row: int) -> np.ndarray:
        if row == 4:
            raise KeyboardInterrupt
        return np.zeros((3, 2), dtype=np.uint8)

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path, 1.0).get(request(read=read))
    assert folders(tmp_path) == set()


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    Store(tmp_path, 1.0).get(request(), 2, lambda *step: told.append(step))
    assert told == [("video", k, 7) for k in range(1, 8)]


def _read_and_tell(path: str, folder: Path) -> None:
    def read(row: int) -> np.ndarray:
        with Path(path).open("a") as file:
            file.write(f"{row}\n")
        return np.full((3, 2), row, dtype=np.uint8)

    assert Store(folder, 1.0).get(request(read=read)).take(np.array([5]))[0, 0, 0] == 5


def test_two_processes_make_an_entry_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log.txt"
    processes = [context.Process(target=_read_and_tell, args=(str(log), tmp_path / "cache")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert log.read_text().split() == [str(row) for row in range(7)]
