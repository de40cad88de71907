"""The embeddings of a run and the samples behind them, so that nothing need be encoded again to score it otherwise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file
from torch import Tensor

from awase.data import Dataset
from awase.data.features import ClipDataset
from awase.evaluation import Embedded
from awase.training.checkpoint import write_tensors

FOLDER = "embeddings"
SAMPLES = "samples.parquet"
FORMAT_VERSION = "1"


def write_embeddings(folder: Path, stage: str, split: str, embedded: Embedded) -> Path:
    """Writes the embeddings of a split under a stage's model: float32, with the row of the data set and presence."""
    tensors: dict[str, Tensor] = {"index": embedded.index}
    tensors |= {f"embedding|{name}": value.contiguous() for name, value in embedded.embeddings.items()}
    tensors |= {f"present|{name}": value for name, value in embedded.present.items()}
    tensors |= {f"several|{name}": value for name, value in embedded.several.items()}
    for key, own in embedded.keyed.items():
        tensors |= {f"keyed|{key}|{name}": value.contiguous() for name, value in own.items()}
    path = embeddings_file(folder, stage, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors, {"format_version": FORMAT_VERSION})
    return path


def embeddings_file(folder: Path, stage: str, split: str) -> Path:
    """Where the embeddings of a stage and split lie in a run's folder."""
    return folder / FOLDER / stage / f"{split}.safetensors"


def read_embeddings(folder: Path, stage: str, split: str) -> Embedded:
    """What `write_embeddings` wrote; raises `FileNotFoundError`, naming what is there."""
    path = embeddings_file(folder, stage, split)
    if not path.is_file():
        there = sorted(str(one.relative_to(folder / FOLDER)) for one in (folder / FOLDER).rglob("*.safetensors"))
        raise FileNotFoundError(
            f"{folder} has no embeddings of stage {stage!r} and split {split!r}; it has {', '.join(there) or 'none'}."
        )
    tensors = load_file(path)
    ids = read_samples(folder)
    index = tensors["index"]
    embeddings, present, several = (
        {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        for start in ("embedding|", "present|", "several|")
    )
    keyed: dict[str, dict[str, Tensor]] = {}
    for full, value in tensors.items():
        if full.startswith("keyed|"):
            _, key, name = full.split("|")
            keyed.setdefault(key, {})[name] = value
    return Embedded(tuple(str(ids["id"][row]) for row in index.tolist()), index, embeddings, present, several, keyed)


def write_samples(folder: Path, dataset: Dataset | ClipDataset, splits: Sequence[str]) -> None:
    """Writes id, split, group and texts of every row of these splits, under its row number in the data set."""
    rows = np.concatenate([dataset.splits[split] for split in splits])
    ids, groups = dataset.ids, dataset.groups
    columns: dict[str, list[Any]] = {
        "row": rows.tolist(),
        "id": [ids[row] for row in rows.tolist()],
        "split": [split for split in splits for _ in dataset.splits[split]],
    }
    if groups is not None:
        columns["group"] = [groups[row] for row in rows.tolist()]
    columns |= {f"text|{name}": texts for name, texts in dataset.texts(rows).items()}
    table = pa.table(columns).replace_schema_metadata({"format_version": FORMAT_VERSION})
    pq.write_table(table, folder / SAMPLES)


def read_samples(folder: Path) -> dict[str, dict[int, str | None]]:
    """Column -> row of the data set -> value: `id`, `split`, and where there are such `group` and `text|<modality>`."""
    columns = pq.read_table(folder / SAMPLES).to_pydict()
    rows = columns.pop("row")
    return {name: dict(zip(rows, values, strict=True)) for name, values in columns.items()}


def numbered(texts: Sequence[str | None]) -> Tensor:
    """A number per text, the same for equal texts; where there is none a number of its own."""
    keys = [(text,) if text is not None else (None, row) for row, text in enumerate(texts)]
    place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return torch.tensor([place[key] for key in keys])
