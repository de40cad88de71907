"""Pickles that others published, read without letting them run anything."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

_BUILTINS = {
    "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "range", "set", "slice",
    "str", "tuple",
}  # fmt: skip
_NUMPY = {
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
}
_OTHERS = {("collections", "OrderedDict"), ("_codecs", "encode"), ("torch._utils", "_rebuild_tensor_v2")}


def read_pickle(path: Path, allow_pickle: bool) -> Any:
    """The object in a pickle of builtins, numpy arrays, torch tensors and pandas tables (as dictionaries of columns).

    Anything else in it is refused before it is made, so that a pickle cannot run code. Raises `ValueError` where
    pickles are not allowed, where it names something else, and for a file that is cut short or no pickle.
    """
    if not allow_pickle:
        raise ValueError(
            f"{path} is a pickle, which is read only with --allow-pickle (allow_pickle=True); a json or csv form of "
            "the same file needs no permission."
        )
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as a pickle of numbers and texts ({error}).") from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module == "builtins" and name in _BUILTINS) or name in _NUMPY.get(module, ()):
            return super().find_class(module, name)
        if (module, name) in _OTHERS:
            return super().find_class(module, name)
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _storage
        stand_in = _PANDAS.get((module, name))
        if stand_in is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is neither numpy, torch nor a builtin")
        return stand_in


def _storage(data: bytes) -> Any:
    """A tensor's numbers; torch's own reader would unpickle anything."""
    return torch.load(io.BytesIO(data), weights_only=True)


class Table(dict[str, np.ndarray]):
    """A pandas DataFrame as its columns, without pandas."""

    def __setstate__(self, state: Any) -> None:
        manager = state.get("_mgr", state.get("_data"))
        columns, blocks = manager.axes[0], manager.blocks
        for values, places, _ in blocks:
            chosen = range(*places.indices(len(columns))) if isinstance(places, slice) else list(places)
            for place, row in zip(chosen, values, strict=True):
                self[str(columns[place])] = np.asarray(row)


class _Manager:
    """The blocks and axes of a table."""

    def __init__(self, blocks: Any = (), axes: Any = ()) -> None:
        self.blocks, self.axes = blocks, axes

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 4:  # of pandas before 1.3
            inner = state[3]["0.14.1"]
            self.axes = inner["axes"]
            self.blocks = [(block["values"], block["mgr_locs"], 2) for block in inner["blocks"]]


def _block(values: Any, places: Any, ndim: int) -> tuple[Any, Any, int]:
    return values, places, ndim


def _index(kind: Any, content: dict[str, Any]) -> Any:
    if "data" in content:
        return list(content["data"])
    return range(content["start"], content["stop"], content["step"])


_PANDAS: dict[tuple[str, str], Callable[..., Any]] = {
    ("pandas.core.frame", "DataFrame"): Table,
    ("pandas", "DataFrame"): Table,
    ("pandas.core.internals.managers", "BlockManager"): _Manager,
    ("pandas._libs.internals", "_unpickle_block"): _block,
    ("pandas.core.indexes.base", "_new_Index"): _index,
    ("pandas.core.indexes.base", "Index"): object,
    ("pandas.core.indexes.range", "RangeIndex"): object,
    ("pandas.core.indexes.numeric", "Int64Index"): object,
}
