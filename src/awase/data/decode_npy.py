"""Arrays of numbers: .npy files, and lists in cells of a manifest."""

import json
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Float32

from awase.data.source import MediaError

_HEAD = Lock()  # numpy reads the head of a file with `ast`, which fails in two threads at once (cpython issue 106905)


def load_npy(path: Path) -> np.ndarray:
    """The numbers in an .npy file; raises `MediaError` for anything else, pickled objects included."""
    if not path.is_file():
        raise MediaError("no such file")
    try:
        with _HEAD:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise MediaError("is not an .npy file of numbers") from error
    if not isinstance(mapped, np.ndarray) or mapped.dtype.kind not in "biuf":
        raise MediaError("is not an .npy file of numbers")
    return np.array(mapped)


def check_array(array: np.ndarray, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    """The array as float32; raises `MediaError` for another shape and for values that are not finite."""
    if array.shape != shape:
        raise MediaError(f"has the shape {list(array.shape)} where {list(shape)} is stated")
    if not np.isfinite(array).all():
        raise MediaError("holds values that are not finite")
    return np.ascontiguousarray(array, dtype=np.float32)


def parse_array(value: Any) -> np.ndarray:
    """The numbers of a cell, a JSON list or a list; raises `MediaError` for anything else."""
    try:
        return np.asarray(json.loads(value) if isinstance(value, str) else value, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise MediaError("is not a list of numbers") from error
