"""What the built-in data sets have in common: seeded generators, agreeing inputs, fixed windows, content hashes."""

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from awase.config import AudioInput, Input
from awase.data.source import MediaError

Key = int | float | str


def digest(*keys: Key) -> str:
    """Returns 32 hexadecimal digits that depend on every key, on its type and on the order."""
    return blake2b(repr(keys).encode(), digest_size=16).hexdigest()


def generator(*keys: Key) -> np.random.Generator:
    """Returns the generator that belongs to these keys, always in the same state."""
    return np.random.Generator(np.random.PCG64(int(digest(*keys), 16)))


def agreeing_inputs(dataset: str, given: Mapping[str, Input], defaults: Mapping[str, Input]) -> dict[str, Input]:
    """Returns the `given` inputs, or the `defaults` where none are given.

    Raises `KeyError` for a modality that the data set lacks and `ValueError` for one of another kind.
    """
    for name, entry in given.items():
        if name not in defaults:
            raise KeyError(f"The data set {dataset!r} has no modality {name!r}; it has {', '.join(defaults)}.")
        if entry.kind != defaults[name].kind:
            raise ValueError(
                f"{name!r} of the data set {dataset!r} is of kind {defaults[name].kind!r}; the input given is of "
                f"kind {entry.kind!r}."
            )
    return dict(given) or dict(defaults)


def fit_window(wave: NDArray[np.float32], entry: AudioInput) -> NDArray[np.float32]:
    """Returns the window of `entry.window_s` seconds around the middle of `wave`; the whole wave where it is `None`.

    A shorter wave is followed by zeros; with `short="error"` it raises `MediaError`.
    """
    if entry.window_s is None:
        return wave
    length = round(entry.window_s * entry.sample_rate_hz)
    if len(wave) >= length:
        first = (len(wave) - length) // 2
        return wave[first : first + length]
    if entry.short == "error":
        seconds = len(wave) / entry.sample_rate_hz
        raise MediaError(f"the clip lasts {seconds:.3f} s, less than the window of {entry.window_s} s")
    return np.pad(wave, (0, length - len(wave)))
