"""The waveform of an audio file, or of the audio track of a video file."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from awase.config import AudioInput
from awase.data.media import Clip, check_reached, decoded_frames, known_length_s, open_media, seek
from awase.data.source import MediaError

_PLAIN = {".wav", ".flac", ".ogg", ".oga", ".aiff", ".aif"}
_SHORT_S = 0.01
_GAP_S = 0.05


def decode_audio(path: Path, clip: Clip, setting: AudioInput) -> Float32[np.ndarray, " samples"] | None:
    """The window as a waveform, the mean of its channels, at `sample_rate_hz`; `None` where there is no audio track.

    Outside of the file there are zeros, or, with `short="error"`, a `MediaError` if they would be more than 10 ms.
    Also raises `MediaError` for files that are missing, truncated, cannot be decoded or hold values not finite.
    """
    track = _read_plain(path, clip, setting) if path.suffix.lower() in _PLAIN else _read_track(path, clip, setting)
    if track is None:
        return None
    waveform, rate, seconds = track
    if not np.isfinite(waveform).all():
        raise MediaError("holds values that are not finite")
    return fit_length(resample(waveform, rate, setting.sample_rate_hz), round(seconds * setting.sample_rate_hz))


def resample(waveform: Float32[np.ndarray, " samples"], from_hz: int, to_hz: int) -> Float32[np.ndarray, " resampled"]:
    """The waveform at another rate, `ceil(samples x to_hz / from_hz)` long (polyphase filter, zeros at the ends)."""
    if from_hz == to_hz:
        return waveform
    from scipy.signal import resample_poly

    divisor = math.gcd(from_hz, to_hz)
    return np.asarray(resample_poly(waveform, to_hz // divisor, from_hz // divisor), dtype=np.float32)


def fit_length(waveform: Float32[np.ndarray, " samples"], num_samples: int) -> Float32[np.ndarray, " fitted"]:
    """The waveform cut, or filled with zeros at its end, to `num_samples`."""
    fitted = np.zeros(num_samples, dtype=np.float32)
    count = min(num_samples, len(waveform))
    fitted[:count] = waveform[:count]
    return fitted


def _window(clip: Clip, setting: AudioInput, length: float) -> tuple[float, float]:
    start, end = clip.window(setting.window_s, length)
    inside = min(end, length) - max(start, 0.0)
    if setting.short == "error" and inside < end - start - _SHORT_S:
        raise MediaError(f"has {max(inside, 0):.3f} s of audio in the window of {end - start:.3f} s")
    return start, end


def _read_plain(path: Path, clip: Clip, setting: AudioInput) -> tuple[np.ndarray, int, float] | None:
    import soundfile

    if not path.is_file():
        raise MediaError("no such file")
    try:
        with soundfile.SoundFile(path) as file:
            start, end = _window(clip, setting, file.frames / file.samplerate)
            target = np.zeros(round((end - start) * file.samplerate), dtype=np.float32)
            first = round(start * file.samplerate)
            file.seek(min(max(first, 0), file.frames))
            block = file.read(max(0, len(target) + min(first, 0)), dtype="float32", always_2d=True).mean(axis=1)
            target[max(0, -first) : max(0, -first) + len(block)] = block
            return target, file.samplerate, end - start
    except soundfile.LibsndfileError as error:
        raise MediaError(f"cannot be decoded: {error.error_string}") from error


def _read_track(path: Path, clip: Clip, setting: AudioInput) -> tuple[np.ndarray, int, float] | None:
    with open_media(path) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        length = known_length_s(path, container, stream)
        start, end = _window(clip, setting, length)
        rate = int(stream.rate)
        target = np.zeros(round((end - start) * rate), dtype=np.float32)
        reached = _copy(container, stream, target, round(start * rate))
        check_reached(reached, end, length)
        return target, rate, end - start


def _copy(container: Any, stream: Any, target: np.ndarray, first: int) -> float:
    """Writes the samples from number `first` on into `target`; returns the second up to which there were any."""
    rate = int(stream.rate)
    seek(container, first / rate)
    position: int | None = None
    for time, frame in decoded_frames(container, stream):
        stated = round(time * rate)
        # Times are rounded in some containers: only a real gap moves the position, so that nothing clicks.
        if position is None or abs(stated - position) > _GAP_S * rate:
            position = stated
        block = to_mono(frame)
        _overlap(target, block, position - first)
        position += len(block)
        if position >= first + len(target):
            break
    return 0.0 if position is None else position / rate


def _overlap(target: np.ndarray, block: np.ndarray, offset: int) -> None:
    begin, end = max(offset, 0), min(offset + len(block), len(target))
    if end > begin:
        target[begin:end] = block[begin - offset : end - offset]


def to_mono(frame: Any) -> Float32[np.ndarray, " samples"]:
    """The mean of the channels of a decoded frame, integers scaled to [-1, 1]."""
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, frame.layout.nb_channels).T
    if array.dtype == np.uint8:
        return np.asarray((array.mean(axis=0, dtype=np.float64) - 128) / 128, dtype=np.float32)
    scale = 1.0 if array.dtype.kind == "f" else 1.0 / (np.iinfo(array.dtype).max + 1.0)
    return np.asarray(array.mean(axis=0, dtype=np.float64) * scale, dtype=np.float32)
