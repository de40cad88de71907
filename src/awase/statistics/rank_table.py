"""`ranks.parquet`: at which rank every query found its item, by id, so that later comparisons can be paired."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from awase.files import whole_file
from awase.statistics.retrieval_protocol import RetrievalProtocol
from awase.statistics.versioned_table import read_versioned

RANKS_NAME = "ranks.parquet"
FORMAT_VERSION = 1
_VERSION_KEY = b"awase.ranks"
_PROTOCOLS_KEY = b"awase.protocols"
_KEY = ("split", "direction", "post_processing")
_TEXTS = ("query_id", "item_id", "stage", *_KEY)


@dataclass(frozen=True)
class RankTable:
    """One row per query, stage, split, direction and post-processing; `item_id` is the item the query looks for.

    `rank` counts from 0 and is -1 where the query or its item is missing; `rank_same_caption` is that of the best item
    with the same caption. `groups` are what is drawn together in intervals (source video). `protocols` say under what
    the ranks of a (split, direction, post-processing) were measured.
    """

    query_id: tuple[str, ...]
    item_id: tuple[str, ...]
    stage: tuple[str, ...]
    split: tuple[str, ...]
    direction: tuple[str, ...]
    post_processing: tuple[str, ...]
    rank: Int[np.ndarray, " rows"]
    rank_same_caption: Int[np.ndarray, " rows"]
    groups: tuple[str, ...] | None = None
    protocols: dict[tuple[str, str, str], RetrievalProtocol] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = [*(getattr(self, name) for name in _TEXTS), self.rank, self.rank_same_caption]
        sizes = {len(column) for column in columns} | ({len(self.groups)} if self.groups is not None else set())
        if len(sizes) != 1:
            raise ValueError(f"Every column of ranks needs one entry per query; given: {sorted(sizes)}.")

    def __len__(self) -> int:
        return len(self.query_id)

    def take(self, rows: Sequence[int]) -> "RankTable":
        """The given rows, in the given order."""
        index = np.asarray(rows, dtype=np.int64)
        texts = {name: tuple(getattr(self, name)[i] for i in index) for name in _TEXTS}
        groups = None if self.groups is None else tuple(self.groups[i] for i in index)
        return RankTable(
            **texts,
            rank=self.rank[index],
            rank_same_caption=self.rank_same_caption[index],
            groups=groups,
            protocols=self.protocols,
        )

    def select(self, **wanted: str) -> "RankTable":
        """The rows with these entries, as in `select(stage="joint", direction="text->video")`.

        Raises `ValueError` for another column and where no row is left, naming what there is.
        """
        unknown = sorted(set(wanted) - set(_TEXTS))
        if unknown:
            raise ValueError(f"Ranks are selected by {', '.join(_TEXTS)}; given: {', '.join(unknown)}.")
        columns = {name: getattr(self, name) for name in wanted}
        rows = [i for i in range(len(self)) if all(columns[name][i] == value for name, value in wanted.items())]
        if not rows:
            there = "; ".join(f"{name}: {', '.join(sorted(set(columns[name]))[:9])}" for name in wanted)
            raise ValueError(f"No rank has {', '.join(f'{k} {v!r}' for k, v in wanted.items())}. There is {there}.")
        return self.take(rows)

    def parts(self) -> dict[tuple[str, str, str, str], "RankTable"]:
        """(stage, split, direction, post-processing) -> its rows, in one pass; what `select` would give for each."""
        rows: dict[tuple[str, str, str, str], list[int]] = {}
        keys = zip(self.stage, self.split, self.direction, self.post_processing, strict=True)
        for row, key in enumerate(keys):
            rows.setdefault(key, []).append(row)
        return {key: self.take(own) for key, own in rows.items()}

    @property
    def protocol(self) -> RetrievalProtocol | None:
        """Of a table of one split, direction and post-processing; None where it was not stored.

        Raises `ValueError` for a table of several.
        """
        keys = set(zip(self.split, self.direction, self.post_processing, strict=True))
        if len(keys) != 1:
            raise ValueError(f"A protocol belongs to one direction of one split; select one of {sorted(keys)}.")
        return self.protocols.get(keys.pop())


def join_ranks(parts: Sequence[RankTable]) -> RankTable:
    """The rows of all parts one after another; groups are kept where every part has them.

    Raises `ValueError` where a query comes twice in one stage, split, direction and post-processing, and where two
    parts store different protocols for the same.
    """
    texts = {name: tuple(value for part in parts for value in getattr(part, name)) for name in _TEXTS}
    keys = list(zip(*(texts[name] for name in ("query_id", "stage", *_KEY)), strict=True))
    if len(set(keys)) != len(keys):
        raise ValueError("A query has two ranks in one stage, split, direction and post-processing; make ids unique.")
    protocols: dict[tuple[str, str, str], RetrievalProtocol] = {}
    for part in parts:
        for key, protocol in part.protocols.items():
            if protocols.setdefault(key, protocol) != protocol:
                raise ValueError(f"Two protocols for {key}: {', '.join(protocol.differences(protocols[key]))} differ.")
    groups = [part.groups for part in parts if part.groups is not None]
    return RankTable(
        **texts,
        rank=np.concatenate([part.rank for part in parts]),
        rank_same_caption=np.concatenate([part.rank_same_caption for part in parts]),
        groups=tuple(name for part in groups for name in part) if len(groups) == len(parts) else None,
        protocols=protocols,
    )


def write_ranks(path: Path, table: RankTable) -> None:
    """Writes the ranks to `path`, whole or not at all."""
    columns = {name: pa.array(getattr(table, name), pa.string()) for name in _TEXTS}
    columns |= {name: pa.array(getattr(table, name), pa.int64()) for name in ("rank", "rank_same_caption")}
    if table.groups is not None:
        columns["group"] = pa.array(table.groups, pa.string())
    protocols = [[*key, protocol.to_dict()] for key, protocol in table.protocols.items()]
    metadata = {_VERSION_KEY: str(FORMAT_VERSION), _PROTOCOLS_KEY: json.dumps(protocols)}
    with whole_file(path) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), temporary)


def read_ranks(path: Path) -> RankTable:
    """The ranks in `path`, a file or a run's folder.

    Raises `FileNotFoundError` where there are none, `ValueError` for another format.
    """
    table = read_versioned(
        path, RANKS_NAME, _VERSION_KEY, FORMAT_VERSION, owner="the folder of a finished retrieval run"
    )
    protocols = json.loads(table.schema.metadata[_PROTOCOLS_KEY])
    return RankTable(
        **{name: tuple(table[name].to_pylist()) for name in _TEXTS},
        rank=table["rank"].to_numpy().astype(np.int64),
        rank_same_caption=table["rank_same_caption"].to_numpy().astype(np.int64),
        groups=tuple(table["group"].to_pylist()) if "group" in table.column_names else None,
        protocols={(a, b, c): RetrievalProtocol.from_dict(values) for a, b, c, values in protocols},
    )
