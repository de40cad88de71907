"""A file of rows by number that is filled as they come, by one process or several at the same time."""

import errno
import logging
import os
import weakref
import zlib
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)


class RowFile:
    """Up to `num_rows` rows of `dim` numbers (float32), found by their number in the file `path`.

    A row lies there with its checksum (CRC-32), so it takes 4 dim + 4 bytes. One that was never written, or whose
    writing was cut short, has another checksum and is not there. So nothing is locked: processes that write a row at
    the same time leave either one of them whole or none. The file has holes where rows are missing, which take no room
    on usual file systems. `limit` is how many bytes all files of its folder may take; after that, and when the disk is
    full, what is written is not kept, which is said once. Raises `OSError` for a folder that cannot be written.
    """

    def __init__(self, path: Path, num_rows: int, dim: int, limit: int) -> None:
        self.path, self.limit, self.full = path, limit, False
        row = np.dtype([("values", "<f4", (dim,)), ("check", "<u4")])
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        weakref.finalize(self, os.close, self._file)
        if os.fstat(self._file).st_size < num_rows * row.itemsize:
            os.ftruncate(self._file, num_rows * row.itemsize)
        self._rows: np.ndarray = np.asarray(np.memmap(path, row, mode="r", shape=(num_rows,)))

    def read(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows, dim) float32, and which of them are there (bool); the others hold anything."""
        found = self._rows[numbers]
        sums = np.fromiter((zlib.crc32(row) for row in found["values"]), dtype=np.uint32, count=len(found))
        # Between the rows lie their checksums, with which products of matrices take ten times as long.
        return np.ascontiguousarray(found["values"]), sums == found["check"]

    def write(self, numbers: np.ndarray, values: np.ndarray) -> None:
        """Puts the rows (rows, dim) at their numbers, while there is room."""
        if self.full:
            return
        rows: np.ndarray = np.empty(len(values), self._rows.dtype)
        rows["values"] = values
        rows["check"] = [zlib.crc32(row) for row in rows["values"]]
        if self._folder_bytes() + rows.nbytes > self.limit:
            self._give_up(f"holds the {self.limit / 2**30:.3g} GiB that it may")
            return
        try:
            for number, row in zip(numbers.tolist(), rows, strict=True):
                os.pwrite(self._file, row.tobytes(), number * rows.itemsize)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._give_up("is on a disk that is full")

    def _folder_bytes(self) -> int:
        """What the files take on the disk, without their holes."""
        return sum(512 * entry.stat().st_blocks for entry in os.scandir(self.path.parent))

    def _give_up(self, why: str) -> None:
        self.full = True
        logger.warning("%s %s: further features are computed each time they are needed", self.path.parent, why)
