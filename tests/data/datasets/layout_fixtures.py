"""Small copies of official layouts, made on the spot."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from awase.config import DataConfig, Input
from awase.data import Dataset, open_dataset
from awase.data.datasets.layout import Layout, LayoutRow


def write(path: Path, text: str, *, bom: bool = False, crlf: bool = False) -> Path:
    """A text file, with a byte order mark and CRLF where asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.replace("\n", "\r\n") if crlf else text
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + content.encode())
    return path


def write_json(path: Path, document: object) -> Path:
    """A JSON file."""
    return write(path, json.dumps(document))


def picture(path: Path, level: int = 90, size: tuple[int, int] = (5, 7)) -> Path:
    """A grey picture (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, level, dtype=np.uint8)).convert("RGB").save(path)
    return path


def write_film(path: Path, levels: list[int]) -> Path:
    """A video of one grey frame (16 x 16) per level, without sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "1"})
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), level, dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def by_id(layout: Layout) -> dict[str, LayoutRow]:
    """The rows by their ids, which are unique."""
    rows = {row.id: row for row in layout.rows}
    assert len(rows) == len(layout.rows)
    return rows


class Lengths:
    """A tokenizer whose only token is the length of the text."""

    fingerprint = "lengths"

    def __call__(self, texts: list[str]) -> dict[str, Any]:
        return {"input_ids": np.array([[len(text)] for text in texts], dtype=np.int64)}


def open_layout(layout: Layout, folder: Path, inputs: Mapping[str, Input], **options: object) -> Dataset:
    """The data set of a manifest with a column for every file and text, written as any user might."""
    manifest = folder / "manifest.csv"
    columns = [*layout.rows[0].files, *layout.rows[0].texts]
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "split", "group", "fold", *columns])
        for row in layout.rows:
            cells = {**{name: path.relative_to(folder) for name, path in row.files.items()}, **row.texts}
            split, fold = row.splits[layout.default_splitting], "none" if row.fold is None else row.fold
            writer.writerow([row.id, "|".join(row.labels), split, row.group, fold, *(cells[name] for name in columns)])
    separator = "|" if layout.multi_label else None
    given = {"manifest": manifest, "inputs": inputs, "classes": layout.classes, "label_separator": separator}
    config = DataConfig.model_validate({**given, **options})
    tokenizers = {"text": Lengths()}
    return open_dataset(config, cache=folder / "cache", cache_gib=0.1, tokenizers=tokenizers, threads=1)
