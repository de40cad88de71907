"""New rows to predict: the columns of a trained model's modalities, no labels, no splits."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from awase.config import DataConfig, Input, TextInput
from awase.data.columns import Column
from awase.data.dataset import Dataset
from awase.data.decoding import Decoder, fingerprints
from awase.data.manifest import ManifestSource
from awase.data.store import Store
from awase.data.summary import listed
from awase.data.table import Table, read_table
from awase.types import Tokenizer

SPLIT = "new"


def open_unlabelled(
    config: DataConfig,
    *,
    cache: Path,
    cache_gib: float,
    tokenizers: Mapping[str, Tokenizer],
    num_samples: Mapping[str, int | None],
    threads: int = 2,
    table: Table | None = None,
    allow_empty: bool = False,
) -> Dataset:
    """The rows of `config.manifest` as the split `new`, with those of `config.inputs` whose column the table has.

    `table`: some of its rows, where they were read already; of these none need have a modality where `allow_empty`.

    Augmentation and corruption are left out. `num_samples` are the lengths of waveforms that the model was trained
    with. Rows without any modality are in no split; `summary["excluded"]` lists them. Raises `ValueError` when the
    table has none of the columns, naming them, or when no row is left.
    """
    assert config.manifest is not None, "new rows come from a table"
    table = read_table(config.manifest) if table is None else table
    present = table.columns
    inputs: dict[str, Input] = {
        name: setting.model_copy(update={"augment": (), "corrupt": ()})
        for name, setting in config.inputs.items()
        if setting.column in present
    }
    if not inputs:
        wanted = ", ".join(sorted({setting.column for setting in config.inputs.values()}))
        raise ValueError(f"{config.manifest} has none of the columns {wanted}; it has: {', '.join(present)}.")
    bare = config.model_copy(
        update={
            "inputs": inputs,
            "label": (),
            "split_column": None,
            "fold": None,
            "fold_column": None,
            "group_column": None,
            "split_files": {},
        }
    )
    source = ManifestSource(bare, table)
    rows = np.arange(len(source.rows))
    decoder = Decoder(source, fingerprints(source, threads), rows, Store(cache / "data", cache_gib), threads, None)
    columns: dict[str, Column] = {}
    reasons: dict[str, dict[int, str]] = {}
    for name, setting in inputs.items():
        if isinstance(setting, TextInput):
            columns[name], reasons[name] = decoder.text(name, setting, tokenizers[name])
        else:
            media, reasons[name] = decoder.media(name)
            columns[name] = media.resized(num_samples[name])
    return _dataset(source, columns, reasons, allow_empty)


def _dataset(
    source: ManifestSource, columns: dict[str, Column], reasons: dict[str, dict[int, str]], allow_empty: bool
) -> Dataset:
    total = len(source.rows)
    empty = {row: "no modality" for row in range(total) if all(row in absent for absent in reasons.values())}
    if len(empty) == total and not allow_empty:
        raise ValueError(f"None of the {total} rows has a file that can be read; see `awase data check`.")
    return Dataset(
        rows=source.rows,
        task="single_label",
        classes=(),
        inputs=dict(source.inputs),
        splits={SPLIT: np.array([row for row in range(total) if row not in empty], dtype=np.int64)},
        targets=np.zeros(total, dtype=np.int64),
        fingerprint="",
        summary={
            "rows": total,
            "excluded": listed(source.rows, empty),
            "missing": {name: listed(source.rows, absent) for name, absent in reasons.items()},
        },
        columns=columns,
    )
