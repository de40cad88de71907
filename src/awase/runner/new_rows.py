"""Rows that a trained model has not seen, opened as it was trained to read them."""

from collections.abc import Sequence
from pathlib import Path

from awase.config import DataConfig, Runtime, StreamConfig
from awase.data import Dataset
from awase.data.table import Table, read_table
from awase.data.unlabelled import open_unlabelled
from awase.runner.setting import build_tokenizers
from awase.runner.spec import ModelSpec


def new_data(spec: ModelSpec, modalities: Sequence[str], file: Path, columns: Sequence[str]) -> DataConfig:
    """How the rows of a table with these columns are read.

    A row means the part of its files that the columns of the training's data say, where the table has them.
    """
    times = {"start_column": spec.start_column, "end_column": spec.end_column}
    known = spec.stream_column if spec.stream_column in columns else None
    return DataConfig(
        manifest=file,
        inputs={name: spec.inputs[name] for name in modalities},
        task="retrieval",
        stream=StreamConfig(column=known),
        **{name: column for name, column in times.items() if column in columns},
    )


def open_new_rows(
    spec: ModelSpec,
    modalities: Sequence[str],
    file: Path,
    *,
    cache: Path,
    table: Table | None = None,
    data: DataConfig | None = None,
    allow_empty: bool = False,
) -> Dataset:
    """The rows of a table as the split `new`; raises as `open_unlabelled` does.

    `table`: some of its rows, read already; `data`: how they are read, where that is not as `new_data` says.
    """
    table = read_table(file) if table is None else table
    data = new_data(spec, modalities, file, tuple(table.columns)) if data is None else data
    return open_unlabelled(
        data,
        cache=cache,
        cache_gib=Runtime().cache_gib,
        tokenizers=build_tokenizers(data, spec.encoders),
        num_samples=spec.num_samples,
        table=table,
        allow_empty=allow_empty,
    )
