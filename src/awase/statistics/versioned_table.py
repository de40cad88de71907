"""Parquet files that say in which version of which format they are."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def read_versioned(path: Path, name: str, key: bytes, version: int, *, owner: str) -> pa.Table:
    """The table in `path`, a file or a folder that holds the file `name`; its metadata have `version` under `key`.

    Raises `FileNotFoundError` where there is none, saying that `owner` has one, `ValueError` for another version.
    """
    file = path / name if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path} holds no {name}: {owner} has one.")
    table = pq.read_table(file)
    found = (table.schema.metadata or {}).get(key, b"none").decode()
    if found != str(version):
        raise ValueError(f"{file} has format version {found}; this awase reads {version}.")
    return table
