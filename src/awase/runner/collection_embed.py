"""Embedding a table into a collection, shard by shard, so that what was interrupted goes on."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from awase.config import DataConfig
from awase.data.manifest import read_clips, read_ids
from awase.data.media import Clip
from awase.data.table import Table, read_table
from awase.data.unlabelled import SPLIT
from awase.digest import tensors_digest
from awase.evaluation import Embedded
from awase.runner.collection_files import (
    CollectionHeader,
    Item,
    has_shard,
    read_header,
    write_header,
    write_shard,
)
from awase.runner.folder import RefusedError, differences, locked
from awase.runner.new_rows import new_data, open_new_rows
from awase.runner.space import Space
from awase.vocabulary import SHARED_NAME

SHARD_ROWS = 4096


@dataclass(frozen=True)
class TableColumns:
    """Which columns name a row and the part of its files that it means; None: as the model's own data did."""

    id: str | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True)
class _Source:
    """The table that is embedded, as it was read."""

    file: Path
    table: Table
    data: DataConfig
    ids: tuple[str, ...]
    clips: tuple[Clip, ...]


def embed_table(
    space: Space,
    source: str | Path,
    file: Path,
    folder: Path,
    *,
    columns: TableColumns | None = None,
    under: str = SHARED_NAME,
    shard_rows: int = SHARD_ROWS,
    on_shard: Callable[[int, int], None] = lambda done, total: None,
) -> CollectionHeader:
    """Embeds every row of a table by `space`, loaded from `source`, into `folder`; what is there already is kept.

    `under` names the key, `shared` or a combination with adapters, whose modalities alone are read then. Every
    `shard_rows` rows are written whole; `on_shard(rows done, rows)` is called after each. Raises `RefusedError` where
    the folder holds a collection of another table, model, key or division, and `ValueError` where no row has any of
    the modalities, an id occurs twice, or the model has no adapters of `under`.
    """
    if shard_rows < 1:
        raise ValueError(f"A shard holds 1 row or more; given: {shard_rows}.")
    rows = _read(space, file, columns or TableColumns(), under)
    header = header_of(space, source, rows.file, rows.data, len(rows.table), shard_rows, under)
    with locked(folder):
        _claim(folder, header)
        for shard in range(header.num_shards):
            if not has_shard(folder, shard):
                part = header.rows_of(shard)
                write_shard(folder, shard, _embedded(space, rows, part, header), _items(rows, part))
            on_shard(header.rows_of(shard).stop, header.num_items)
    return header


def header_of(
    space: Space,
    source: str | Path,
    file: Path,
    data: DataConfig,
    num_items: int,
    shard_rows: int,
    under: str = SHARED_NAME,
) -> CollectionHeader:
    """The description of a collection before there is one."""
    local = Path(source)
    retrieval = space.saved.stage.retrieval
    assert retrieval is not None, "the stage has a joint space"
    return CollectionHeader(
        modalities=space.modalities_under(under),
        under=under,
        dim=retrieval.space.dim,
        cosine=space.cosine,
        source=str(local.absolute()) if local.is_dir() else str(source),
        hashes=space.saved.hashes,
        weights=tensors_digest(space.model.state_dict()),
        table=str(file.absolute()),
        table_digest=hashlib.sha256(file.read_bytes()).hexdigest(),
        num_items=num_items,
        shard_rows=shard_rows,
        id_column=data.id_column,
        start_column=data.start_column,
        end_column=data.end_column,
    )


def _read(space: Space, file: Path, columns: TableColumns, under: str) -> _Source:
    table = read_table(file)
    data = new_data(space.saved.spec, space.modalities_under(under), file, tuple(table.columns))
    named = {"id_column": columns.id, "start_column": columns.start, "end_column": columns.end}
    data = data.model_copy(update={name: column for name, column in named.items() if column is not None})
    return _Source(file, table, data, read_ids(table, data), read_clips(table, data))


def _claim(folder: Path, header: CollectionHeader) -> None:
    """Writes the header, or checks that what is there is the same collection; where model and table lie may change."""
    known = read_header(folder)
    if known is None:
        write_header(folder, header)
        return
    places = {"source", "table", "hashes"}
    found = differences(known.model_dump(mode="json", exclude=places), header.model_dump(mode="json", exclude=places))
    if found:
        raise RefusedError(
            f"{folder} is a collection of another table or model, under another key, or divided otherwise (it differs "
            f"in {', '.join(sorted(found))}); choose another folder with --out, or remove this one."
        )


def _embedded(space: Space, rows: _Source, part: slice, header: CollectionHeader) -> Embedded:
    """The embeddings of consecutive rows; of rows without a modality zeros that are not present."""
    dataset = open_new_rows(
        space.saved.spec,
        header.modalities,
        rows.file,
        cache=space.cache,
        table=rows.table.part(part),
        data=rows.data,
        allow_empty=True,
    )
    count = part.stop - part.start
    embeddings = {name: torch.zeros(count, header.dim) for name in header.modalities}
    present = {name: torch.zeros(count, dtype=torch.bool) for name in header.modalities}
    if len(dataset.splits[SPLIT]):
        found = space.embed_dataset(dataset, under=header.under)
        for name in header.modalities:
            here = found.present[name]
            embeddings[name][found.index[here]] = found.embeddings[name][here]
            present[name][found.index[here]] = True
    return Embedded(rows.ids[part], torch.arange(count), embeddings, present)


def _items(rows: _Source, part: slice) -> list[Item]:
    cells = rows.table.part(part).columns
    return [
        Item(
            id=rows.ids[row],
            start_s=rows.clips[row].start_s,
            end_s=rows.clips[row].end_s,
            cells={name: column[place] for name, column in cells.items()},
        )
        for place, row in enumerate(range(part.start, part.stop))
    ]
