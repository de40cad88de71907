"""The files of a collection: what it is, and per shard of rows their embeddings and their items."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from torch import Tensor

from awase.config import Frozen
from awase.evaluation import Embedded
from awase.files import whole_file, write_text
from awase.runner.versioned_document import read_versioned_document
from awase.training.checkpoint import write_tensors
from awase.vocabulary import SHARED_NAME

HEADER = "collection.json"
SHARDS = "shards"
FORMAT_VERSION = 1


class CollectionHeader(Frozen):
    """What a collection holds and where it came from; written before its first shard, and never changed."""

    format_version: int = FORMAT_VERSION
    modalities: tuple[str, ...]
    """Of the model, or of the key; an item may lack any of them."""
    under: str = SHARED_NAME
    """The key that it is embedded under: `shared`, or a combination that has adapters."""
    dim: int
    cosine: bool
    """Whether scores are cosines; else raw dot products."""
    source: str
    """The run or model that embedded it."""
    hashes: tuple[str, ...]
    """The stages whose tensors make the model; empty for a saved model."""
    weights: str
    """Digest of everything in the model's state."""
    table: str
    table_digest: str
    num_items: int
    shard_rows: int
    id_column: str | None = None
    start_column: str | None = None
    end_column: str | None = None

    @property
    def num_shards(self) -> int:
        """How many shards the whole collection has."""
        return -(-self.num_items // self.shard_rows)

    def rows_of(self, shard: int) -> slice:
        """The rows of the table that a shard holds."""
        return slice(shard * self.shard_rows, min(self.num_items, (shard + 1) * self.shard_rows))


class Item(Frozen):
    """One row of the table: its id, the part of its files that was embedded in seconds, and its cells."""

    id: str
    start_s: float | None = None
    end_s: float | None = None
    cells: dict[str, Any]


def read_header(folder: Path) -> CollectionHeader | None:
    """The header, None where there is none yet; raises `ValueError` for another format version and a damaged file."""
    file = folder / HEADER
    if not file.is_file():
        return None
    damaged = "describes no collection; remove the folder and embed again."
    return read_versioned_document(
        file, CollectionHeader, FORMAT_VERSION, damaged=damaged, again="embed the table again"
    )


def write_header(folder: Path, header: CollectionHeader) -> None:
    """Writes `collection.json`."""
    write_text(folder / HEADER, header.model_dump_json(indent=1) + "\n")


def shard_file(folder: Path, shard: int) -> Path:
    """Where the embeddings of a shard lie; its items lie beside them."""
    return folder / SHARDS / f"{shard:06d}.safetensors"


def has_shard(folder: Path, shard: int) -> bool:
    """Whether a shard is written, whole: its embeddings come last."""
    return shard_file(folder, shard).is_file()


def write_shard(folder: Path, shard: int, embedded: Embedded, items: Sequence[Item]) -> None:
    """Writes the items, then the embeddings (float32) and which items have each modality."""
    columns = {
        "id": pa.array([item.id for item in items], pa.string()),
        "start_s": pa.array([item.start_s for item in items], pa.float64()),
        "end_s": pa.array([item.end_s for item in items], pa.float64()),
        "cells": pa.array([json.dumps(item.cells, default=str) for item in items], pa.string()),
    }
    path = shard_file(folder, shard)
    table = pa.table(columns).replace_schema_metadata({"format_version": str(FORMAT_VERSION)})
    with whole_file(path.with_suffix(".parquet")) as temporary:
        pq.write_table(table, temporary)
    tensors = {f"embedding|{name}": value.contiguous() for name, value in embedded.embeddings.items()}
    tensors |= {f"present|{name}": value.contiguous() for name, value in embedded.present.items()}
    write_tensors(path, tensors, {"format_version": str(FORMAT_VERSION)})


def read_shard(folder: Path, shard: int, modalities: Sequence[str]) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Modality -> (embeddings, presence) of a shard's items, mapped into memory: only what is used is read."""
    path = shard_file(folder, shard)
    try:
        with safe_open(path, framework="pt") as file:
            return {
                name: (file.get_tensor(f"embedding|{name}"), file.get_tensor(f"present|{name}")) for name in modalities
            }
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and run `awase embed` again.") from error


def read_items(folder: Path, header: CollectionHeader, rows: Sequence[int]) -> Iterator[Item]:
    """The items of these rows, in the order given; each shard's table is read once."""
    tables: dict[int, pa.Table] = {}
    for row in rows:
        shard, place = divmod(row, header.shard_rows)
        if shard not in tables:
            tables[shard] = pq.read_table(shard_file(folder, shard).with_suffix(".parquet"))
        cells = tables[shard].slice(place, 1).to_pylist()[0]
        yield Item(**{**cells, "cells": json.loads(cells["cells"])})
