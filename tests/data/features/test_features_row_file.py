"""Rows found by number: whole or not there, from several processes, within a limit."""

import errno
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from awase.data.features.row_file import RowFile

ROWS, DIM = 31, 7
PLENTY = 2**30


def file_at(path: Path, limit: int = PLENTY) -> RowFile:
    return RowFile(path, ROWS, DIM, limit)


def some(numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(3).normal(size=(len(numbers), DIM)).astype(np.float32)
    return np.array(numbers), values


def test_what_was_written_is_there_and_nothing_else(tmp_path: Path):
    file = file_at(tmp_path / "folder" / "a.rows")
    numbers, values = some([30, 4, 0])
    assert not file.read(np.arange(ROWS))[1].any()
    file.write(numbers, values)
    for reader in (file, file_at(tmp_path / "folder" / "a.rows")):
        found, there = reader.read(np.array([4, 5, 30, 4]))
        assert there.tolist() == [True, False, True, True]
        assert found.flags.c_contiguous
        assert np.array_equal(found[there], values[[1, 0, 1]])
        assert reader.read(np.arange(ROWS))[1].nonzero()[0].tolist() == [0, 4, 30]
    assert file.read(np.zeros(0, dtype=np.int64))[0].shape == (0, DIM)


def test_a_row_of_zeros_is_a_row(tmp_path: Path):
    file = file_at(tmp_path / "a.rows")
    file.write(np.array([2]), np.zeros((1, DIM), np.float32))
    assert file.read(np.array([1, 2]))[1].tolist() == [False, True]


@pytest.mark.parametrize("kept", [0, 3, 4, 4 * DIM - 1, 4 * DIM, 4 * DIM + 3])
def test_half_a_row_is_none(tmp_path: Path, kept: int):
    file = file_at(tmp_path / "a.rows")
    file.write(*some([3]))
    size = 4 * DIM + 4
    with (tmp_path / "a.rows").open("r+b") as raw:  # as a writer that was stopped leaves it
        raw.seek(3 * size + kept)
        raw.write(bytes(size - kept))
    assert not file.read(np.array([3]))[1][0]
    file.write(*some([3]))
    assert file.read(np.array([3]))[1][0]


def test_a_bit_that_was_turned_is_noticed(tmp_path: Path):
    file = file_at(tmp_path / "a.rows")
    file.write(*some([3, 4]))
    with (tmp_path / "a.rows").open("r+b") as raw:
        raw.seek(3 * (4 * DIM + 4) + 5)
        byte = raw.read(1)[0]
        raw.seek(-1, os.SEEK_CUR)
        raw.write(bytes([byte ^ 16]))
    assert file.read(np.array([3, 4]))[1].tolist() == [False, True]


def _write_again_and_again(path: Path, value: float) -> None:
    file = RowFile(path, ROWS, 4096, PLENTY)
    for _ in range(60):
        file.write(np.arange(ROWS), np.full((ROWS, 4096), value, np.float32))


def test_two_writers_leave_whole_rows_of_one_of_them(tmp_path: Path):
    path = tmp_path / "a.rows"
    file = RowFile(path, ROWS, 4096, PLENTY)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_again_and_again, args=(path, value)) for value in (1.0, 2.0)]
    for writer in writers:
        writer.start()
    seen = 0
    while seen == 0 or any(writer.is_alive() for writer in writers):
        rows, there = file.read(np.arange(ROWS))
        seen += int(there.sum())
        for row in rows[there]:
            assert row[0] in (1.0, 2.0)
            assert (row == row[0]).all()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen > 0


def test_nothing_is_kept_beyond_the_limit(tmp_path: Path, caplog):
    (tmp_path / "other.rows").write_bytes(bytes(50_000))
    file = file_at(tmp_path / "a.rows", limit=40_000)
    with caplog.at_level("WARNING"):
        file.write(*some([1, 2]))
        file.write(*some([3, 4]))
    assert not file.read(np.arange(ROWS))[1].any()
    assert len(caplog.records) == 1
    (tmp_path / "other.rows").unlink()
    again = file_at(tmp_path / "a.rows", limit=40_000)
    again.write(*some([1, 2]))
    assert again.read(np.arange(ROWS))[1].sum() == 2


def test_rows_that_are_missing_take_no_room(tmp_path: Path):
    file = RowFile(tmp_path / "a.rows", 10**6, 1024, 2**20)  # 4.1 GB with all its rows
    file.write(np.array([999_999, 500_000]), np.ones((2, 1024), np.float32))
    assert file.read(np.array([999_999]))[1][0]
    assert not file.full
    assert 512 * (tmp_path / "a.rows").stat().st_blocks < 2**20


def test_a_full_disk_ends_the_keeping_and_nothing_else(tmp_path: Path, monkeypatch):
    file = file_at(tmp_path / "a.rows")

    def refuse(*_: object) -> int:
        raise OSError(problem, os.strerror(problem))

    monkeypatch.setattr(os, "pwrite", refuse)
    problem = errno.EIO
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        file.write(*some([1]))
    problem = errno.ENOSPC
    file.write(*some([1]))
    assert file.full
