"""Small copies of official layouts, made on the spot."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from awase.config import Input
from awase.data import Dataset, open_dataset
from awase.data.datasets.layout import Layout, LayoutRow
from awase.data.prepare import prepare
from awase.data.prepared import prepared_data


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


def open_prepared(name: str, root: Path, inputs: Mapping[str, Input], **changes: object) -> Dataset:
    """The data set that lies in `root`, prepared and opened with these inputs."""
    prepare(name, root, root / "prepared")
    config = prepared_data(root / "prepared").model_copy(update={"inputs": dict(inputs), **changes})
    tokenizers = {"text": Lengths()}
    return open_dataset(config, cache=root / "cache", cache_gib=0.1, tokenizers=tokenizers, threads=1)
