"""A small manifest with an array, audio, pictures and text, some of them missing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from media_files import tone, write_manifest
from PIL import Image

from awase.config import ArrayInput, AudioInput, DataConfig, ImageInput, Input, TextInput
from awase.data import Dataset, open_dataset

RATE = 8000
NUM_ROWS = 41


class Words:
    """A tokenizer of single characters."""

    fingerprint = "characters"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, texts: list[str]) -> dict[str, Any]:
        self.calls += 1
        numbers = np.zeros((len(texts), 5), dtype=np.int64)
        for row, text in enumerate(texts):
            numbers[row, : len(text)] = [ord(letter) for letter in text[:5]]
        return {"input_ids": numbers, "attention_mask": (numbers > 0).astype(np.int64)}


INPUTS: dict[str, Input] = {
    "array": ArrayInput(column="array", shape=(3,)),
    "audio": AudioInput(column="audio", sample_rate_hz=RATE, window_s=0.05, representation="waveform"),
    "image": ImageInput(column="image", height=4, width=6, channels=3),
    "text": TextInput(column="text", max_tokens=5),
}


def split_of(row: int) -> str:
    """23 training, 7 validation, 11 test rows."""
    return "train" if row < 23 else "val" if row < 30 else "test"


def write_set(folder: Path, **changes: Mapping[int, object]) -> Path:
    """`m.csv` and its files; `changes` puts other cells into columns, by row."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for row in range(NUM_ROWS):
        soundfile.write(folder / f"{row}.wav", tone(100 + 50 * row, 0.05, RATE), RATE, subtype="PCM_16")
        Image.fromarray(np.full((4, 6, 3), 5 * row, dtype=np.uint8)).save(folder / f"{row}.png")
        rows.append(
            {
                "id": f"id{row}",
                "label": "abc"[row % 3],
                "split": split_of(row),
                "array": f'"[{row}, {row + 0.5}, -1]"',
                "audio": f"{row}.wav",
                "image": f"{row}.png",
                "text": f"t{row}",
            }
        )
    for name, cells in changes.items():
        for row, cell in cells.items():
            rows[row][name] = cell
    return write_manifest(folder / "m.csv", rows)


def open_set(manifest: Path, cache: Path, **options: object) -> Dataset:
    """The set opened with one reading thread."""
    config = DataConfig.model_validate({"manifest": manifest, "inputs": INPUTS, **options})
    return open_dataset(config, cache=cache, cache_gib=1.0, tokenizers={"text": Words()}, threads=1)
