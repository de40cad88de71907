"""Augmentations and corruptions: functions of a sample and a generator."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from awase.config import Crop, Flip, Noise, Occlusion, PixelNoise, SpecAugment, TimeShift, Transform
from awase.data.noise import Voices, add_noise, babble, white_noise

Kind = Literal["video", "audio", "image", "flow", "text", "array"]

ALLOWED: Mapping[str, tuple[str, ...]] = {
    "video": ("crop", "flip", "time_shift", "pixel_noise", "occlusion"),
    "image": ("crop", "flip", "pixel_noise", "occlusion"),
    "flow": ("crop", "flip", "pixel_noise", "occlusion"),
    "audio": ("time_shift", "noise", "spec_augment"),
    "array": ("pixel_noise",),
    "text": (),
}


@dataclass(frozen=True)
class Context:
    """What transforms need to know of an input.

    `step_s` is the time from one frame, or sample, to the next; `unit` is the distance from black to white (255 for
    pictures, 1 for numbers in their own unit); `grey` is the middle between them; `voices` gives other training clips.
    """

    kind: Kind
    step_s: float | None = None
    unit: float = 1.0
    grey: float = 0.0
    voices: Voices | None = None


def generator_for(seed: int, *place: int) -> np.random.Generator:
    """A generator of its own for every seed and place (epoch, row, modality, ...): equal places, equal numbers."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *place])))


def apply(
    transform: Transform, value: np.ndarray, generator: np.random.Generator, row: int, context: Context
) -> np.ndarray:
    """The transformed sample, a new array or the same; the kind must be one that `ALLOWED` lists for the transform."""
    match transform:
        case Crop():
            return crop(value, generator, transform.padding)
        case Flip():
            return flip(value, context) if generator.random() < transform.probability else value
        case TimeShift():
            assert context.step_s is not None
            steps = round(generator.uniform(-transform.max_s, transform.max_s) / context.step_s)
            return shift(value, steps, edge=context.kind == "video")
        case SpecAugment():
            return spec_augment(value, generator, transform)
        case Noise():
            return noisy(value, generator, transform, row, context)
        case PixelNoise():
            noise = generator.standard_normal(value.shape, dtype=np.float32)
            return np.asarray(value + np.float32(transform.std * context.unit) * noise, dtype=np.float32)
        case Occlusion():
            return occlude(value, generator, transform.fraction, context.grey)
        case _:
            assert_never(transform)


def crop(value: np.ndarray, generator: np.random.Generator, padding: int) -> np.ndarray:
    """(..., height, width, channels) moved by up to `padding` pixels; the pixels at the edge are repeated.

    Black margins would be the strongest edges of the picture; with them a network of spoken letters learnt nothing
    for half of its training.
    """
    down, right = generator.integers(-padding, padding + 1, size=2).tolist()
    rows = np.clip(np.arange(value.shape[-3]) - down, 0, value.shape[-3] - 1)
    columns = np.clip(np.arange(value.shape[-2]) - right, 0, value.shape[-2] - 1)
    return np.ascontiguousarray(value[..., rows, :, :][..., columns, :])


def _overlap(offset: int, size: int) -> tuple[slice, slice]:
    """Where the part that stays inside goes to, and where it comes from."""
    offset = max(-size, min(size, offset))
    return slice(max(0, offset), size + min(0, offset)), slice(max(0, -offset), size - max(0, offset))


def flip(value: np.ndarray, context: Context) -> np.ndarray:
    """Left and right exchanged; of optical flow, also the sign of the horizontal component."""
    mirrored = value[..., ::-1, :]
    if context.kind == "flow":
        mirrored = mirrored.copy()
        mirrored[..., 0] *= -1
    return mirrored


def shift(value: np.ndarray, steps: int, edge: bool) -> np.ndarray:
    """Moved along the first axis to later (positive) or earlier; what comes in is zero or the first or last entry."""
    moved = np.zeros_like(value)
    to, origin = _overlap(steps, len(value))
    moved[to] = value[origin]
    if edge:
        moved[: to.start] = value[0]
        moved[to.stop :] = value[-1]
    return moved


def spec_augment(value: np.ndarray, generator: np.random.Generator, transform: SpecAugment) -> np.ndarray:
    """(..., bins, frames) with random bands of bins and gaps of frames set to the mean of the whole."""
    masked, mean = value.copy(), value.mean()
    for _ in range(transform.num_bands):
        masked[..., _stretch(generator, value.shape[-2], transform.max_bins), :] = mean
    for _ in range(transform.num_gaps):
        masked[..., _stretch(generator, value.shape[-1], transform.max_frames)] = mean
    return masked


def _stretch(generator: np.random.Generator, size: int, longest: int) -> slice:
    width = int(generator.integers(0, min(longest, size) + 1))
    start = int(generator.integers(0, size - width + 1))
    return slice(start, start + width)


def noisy(
    value: np.ndarray, generator: np.random.Generator, transform: Noise, row: int, context: Context
) -> np.ndarray:
    """The waveform with white noise, or babble of other training clips, at a ratio drawn from the transform's range."""
    snr_db = generator.uniform(transform.low_db, transform.high_db)
    if transform.source == "white":
        return add_noise(value, white_noise(len(value), generator), snr_db)
    assert context.voices is not None
    return add_noise(value, babble(context.voices(row, generator, transform.voices), len(value)), snr_db)


def occlude(value: np.ndarray, generator: np.random.Generator, fraction: float, grey: float) -> np.ndarray:
    """(..., height, width, channels) with a square of `fraction` of the area grey (a rectangle where none fits)."""
    height, width = value.shape[-3:-1]
    area = fraction * height * width
    tall = min(height, max(round(area**0.5), round(area / width)))
    wide = min(width, round(area / tall)) if tall else 0
    top = int(generator.integers(0, height - tall + 1))
    left = int(generator.integers(0, width - wide + 1))
    covered = value.copy()
    covered[..., top : top + tall, left : left + wide, :] = grey
    return covered
