"""Draws a scene's video: a coloured shape that moves over a patterned backdrop and lights up at each beat."""

import numpy as np
from numpy.typing import NDArray

from awase.config import VideoInput
from awase.data.datasets.scene_factors import Latents

COLOURS = ((230, 40, 40), (40, 200, 60), (30, 60, 200), (250, 230, 60))
LUMINANCE = (0.299, 0.587, 0.114)
NUM_SLOTS = 6
BEATS: tuple[frozenset[int], ...] = (frozenset({0}), frozenset({0, 3}), frozenset({0, 2, 4}), frozenset(range(6)))
"""Per value of `rhythm`, the sixths of the clip that begin with a beat."""

DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))
TRAVEL = 0.35
RADIUS = 0.2
GREYS = (40, 100)
CYCLES = 4

Plane = NDArray[np.float64]


def render_video(latents: Latents, entry: VideoInput, noise: float, random: np.random.Generator) -> NDArray[np.uint8]:
    """Returns the frames, (frames, height, width, channels).

    `theme` is the colour of the shape, `shape` its form, `backdrop` the pattern behind it; in the sixths of the clip
    in which `rhythm` has a beat the shape is larger and brighter. The direction of its path (one of four), the place
    around which it moves and the phase of the pattern are drawn from `random` and tell nothing. One channel is the
    luminance. White noise of `noise` times the standard deviation of the clip's own pixels is added, then rounded and
    cut to [0, 255].
    """
    direction = np.array(DIRECTIONS[random.integers(len(DIRECTIONS))])
    middle = random.uniform(0.42, 0.58, 2)
    y, x = _grid(entry.height, entry.width)
    behind = _backdrop(latents["backdrop"], x, y, random.uniform(0, 2 * np.pi))
    times = (np.arange(entry.num_frames) + 0.5) / entry.num_frames
    frames = np.empty((entry.num_frames, entry.height, entry.width, 3))
    for frame, time in zip(frames, times, strict=True):
        lit = int(time * NUM_SLOTS) in BEATS[latents["rhythm"]]
        centre = middle + TRAVEL * (time - 0.5) * direction
        mask = _shape(latents["shape"], (x - centre[0]) / _radius(lit), (y - centre[1]) / _radius(lit))
        colour = np.array(COLOURS[latents["theme"]]) * (1.0 if lit else 0.6)
        frame[:] = np.where(mask[..., None], colour, behind[..., None])
    if entry.channels == 1:
        frames = (frames @ np.array(LUMINANCE))[..., None]
    frames += noise * frames.std() * random.standard_normal(frames.shape)
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def _radius(lit: bool) -> float:
    return RADIUS * (1.4 if lit else 1.0)


def _grid(height: int, width: int) -> tuple[Plane, Plane]:
    """The coordinates of the pixels' centres in [0, 1]: y (height, 1) and x (1, width)."""
    return (np.arange(height)[:, None] + 0.5) / height, (np.arange(width)[None, :] + 0.5) / width


def _backdrop(value: int, x: Plane, y: Plane, phase: float) -> Plane:
    across, down = np.sin(2 * np.pi * CYCLES * x + phase), np.sin(2 * np.pi * CYCLES * y + phase)
    slanted = np.sin(2 * np.pi * CYCLES * (x + y) + phase)
    light = (down + 0 * x > 0, across + 0 * y > 0, slanted > 0, (across > 0) & (down > 0))[value]
    return np.where(light, float(GREYS[1]), float(GREYS[0]))


def _shape(value: int, x: Plane, y: Plane) -> NDArray[np.bool_]:
    """Whether a point lies in the shape of radius 1 around the origin."""
    wide, tall = np.abs(x), np.abs(y)
    if value == 0:
        return x**2 + y**2 < 1
    if value == 1:
        return np.maximum(wide, tall) < 0.85
    if value == 2:
        return (y < 0.7) & (2 * wide - 1 < y)
    return (np.minimum(wide, tall) < 0.33) & (np.maximum(wide, tall) < 1)
