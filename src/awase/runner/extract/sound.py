"""Features of recordings: the spectrogram of the whole clip, or windows of it through a frozen encoder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from awase.config import AudioInput
from awase.data.decode_audio import decode_audio
from awase.data.media import Clip, known_length_s, open_media, track_of


@dataclass(frozen=True)
class SoundStream:
    """An array of a recording: `array` makes it from the waveform (mono, at `rate_hz`)."""

    name: str
    rate_hz: int
    array: Callable[[Float32[np.ndarray, " samples"]], np.ndarray]
    settings: dict[str, Any]
    suffix: str
    key: str


def clip_waveform(path: Path, clip: Clip, rate_hz: int) -> Float32[np.ndarray, " samples"]:
    """The mono waveform of a clip up to the end of the file; no samples where the whole file has none.

    Raises `AbsentTrackError` for a file without sound, and `MediaError` for one that is missing, truncated, cannot be
    decoded, or does not reach the clip.
    """
    with open_media(path) as container:
        length = known_length_s(path, container, track_of(container, "audio"))
    if length <= 0 and clip == Clip():
        return np.zeros(0, dtype=np.float32)
    _, end = clip.window(None, length)
    inside = Clip(clip.start_s, None if clip.end_s is None else min(end, length))
    waveform = decode_audio(path, inside, AudioInput(column="audio", sample_rate_hz=rate_hz))
    assert waveform is not None, "the track was there a moment ago"
    return waveform


def windows_of(waveform: Float32[np.ndarray, " samples"], size: int) -> Float32[np.ndarray, "windows size"]:
    """The waveform in windows without overlap; the last is filled with zeros from half on, and dropped if shorter.

    There is at least one.
    """
    count = max(1, int(np.floor(len(waveform) / size + 0.5)))
    fitted = np.zeros(count * size, dtype=np.float32)
    fitted[: min(len(waveform), len(fitted))] = waveform[: len(fitted)]
    return fitted.reshape(count, size)
