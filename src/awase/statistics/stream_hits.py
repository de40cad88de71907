"""`stream.parquet`: which test rows of every data set of a stream were right after every stage, by id."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool

from awase.files import whole_file
from awase.statistics.versioned_table import read_versioned

STREAM_NAME = "stream.parquet"
FORMAT_VERSION = 1
_VERSION_KEY = b"awase.stream"
_TEXTS = ("id", "stage", "data_set")


@dataclass(frozen=True)
class StreamHits:
    """One row per test row, stage and naming of the data set (`known`: only its classes compete, or its own answer).

    `groups` are what is drawn together in intervals.
    """

    id: tuple[str, ...]
    stage: tuple[str, ...]
    data_set: tuple[str, ...]
    known: Bool[np.ndarray, " rows"]
    right: Bool[np.ndarray, " rows"]
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        sizes = {len(part) for part in (self.id, self.stage, self.data_set, self.known, self.right)}
        sizes |= {len(self.groups)} if self.groups is not None else set()
        if len(sizes) != 1:
            raise ValueError(f"Every column of a stream's hits needs one entry per row; given: {sorted(sizes)}.")

    def parts(self) -> dict[tuple[str, str, bool], dict[str, tuple[bool, str | None]]]:
        """(stage, data set, known) -> id -> (whether it was right, its group)."""
        found: dict[tuple[str, str, bool], dict[str, tuple[bool, str | None]]] = {}
        groups = self.groups or (None,) * len(self.id)
        rows = zip(self.id, self.stage, self.data_set, self.known.tolist(), self.right.tolist(), groups, strict=True)
        for name, stage, data_set, known, right, group in rows:
            found.setdefault((stage, data_set, known), {})[name] = (right, group)
        return found


def join_hits(parts: list[StreamHits]) -> StreamHits:
    """The rows of all parts one after another; groups are kept where every part has them."""
    groups = [part.groups for part in parts if part.groups is not None]
    return StreamHits(
        tuple(name for part in parts for name in part.id),
        tuple(name for part in parts for name in part.stage),
        tuple(name for part in parts for name in part.data_set),
        np.concatenate([part.known for part in parts]),
        np.concatenate([part.right for part in parts]),
        tuple(name for part in groups for name in part) if len(groups) == len(parts) else None,
    )


def write_hits(path: Path, hits: StreamHits) -> None:
    """Writes the hits to `path`, whole or not at all."""
    columns = {name: pa.array(getattr(hits, name), pa.string()) for name in _TEXTS}
    columns |= {name: pa.array(getattr(hits, name)) for name in ("known", "right")}
    if hits.groups is not None:
        columns["group"] = pa.array(hits.groups, pa.string())
    table = pa.table(columns).replace_schema_metadata({_VERSION_KEY: str(FORMAT_VERSION)})
    with whole_file(path) as temporary:
        pq.write_table(table, temporary)


def read_hits(path: Path) -> StreamHits:
    """The hits in `path`, a file or a run's folder.

    Raises `FileNotFoundError` where there are none, `ValueError` for another format.
    """
    table = read_versioned(path, STREAM_NAME, _VERSION_KEY, FORMAT_VERSION, owner="the folder of a run on a stream")
    return StreamHits(
        id=tuple(table["id"].to_pylist()),
        stage=tuple(table["stage"].to_pylist()),
        data_set=tuple(table["data_set"].to_pylist()),
        known=np.array(table["known"].to_pylist(), dtype=bool),
        right=np.array(table["right"].to_pylist(), dtype=bool),
        groups=tuple(table["group"].to_pylist()) if "group" in table.column_names else None,
    )
