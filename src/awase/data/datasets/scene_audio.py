"""Plays a scene's sound: an instrument that strikes a note at each beat, and a quieter accompaniment above it."""

import numpy as np
from numpy.typing import NDArray

from awase.data.datasets.scene_factors import Latents
from awase.data.datasets.scene_video import BEATS, NUM_SLOTS

DURATION_S = 0.6
LOWEST_RATE_HZ = 8000
FUNDAMENTALS_HZ = (200.0, 270.0, 360.0, 480.0)
TIMBRES: tuple[tuple[float, dict[float, float]], ...] = (
    (0.3, {1: 1.0}),
    (0.3, {1: 1.0, 3: 0.7, 5: 0.5}),
    (0.06, {1: 1.0, 2: 0.7, 3: 0.6, 4: 0.5, 5: 0.4, 6: 0.3}),
    (0.15, {1: 1.0, 2.76: 0.7, 5.4: 0.5}),
)
"""Per value of `theme`: seconds in which a note falls to 1/e, and partials (multiple of the fundamental: amplitude)."""

ATTACK_S = 0.005
BAND_HZ = (2300.0, 3500.0)
ACCOMPANIMENT = 0.25
SWEEPS_PER_S = 10.0
NUM_TONES = 60
LEVEL = 0.25

Wave = NDArray[np.float64]


def render_audio(latents: Latents, rate_hz: int, noise: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Returns the waveform, `DURATION_S` seconds at `rate_hz`, in [-1, 1].

    `theme` is the instrument (partials and decay of its notes), `pitch` the fundamental of all its notes, `rhythm`
    where the notes begin, `accompaniment` what sounds between 2.3 and 3.5 kHz: a steady whistle, ten rising or ten
    falling sweeps a second, or a hiss. Phases, a detuning of up to 1.5 %, and a gain in [0.5, 1] are drawn from
    `random`. White noise of `noise` times the root mean square of the clip is added: a ratio of -20 log10(noise) dB.
    """
    time = np.arange(round(DURATION_S * rate_hz)) / rate_hz
    wave = _melody(latents, time, random) + ACCOMPANIMENT * _accompany(latents["accompaniment"], time, random)
    wave *= LEVEL * random.uniform(0.5, 1.0)
    wave += noise * np.sqrt(np.mean(wave**2)) * random.standard_normal(len(wave))
    return np.clip(wave, -1, 1).astype(np.float32)


def _melody(latents: Latents, time: Wave, random: np.random.Generator) -> Wave:
    """The notes; each lasts until the next begins."""
    decay_s, partials = TIMBRES[latents["theme"]]
    fundamental_hz = FUNDAMENTALS_HZ[latents["pitch"]] * random.uniform(0.985, 1.015)
    tone = np.zeros_like(time)
    for multiple, amplitude in partials.items():
        tone += amplitude * np.sin(2 * np.pi * (multiple * fundamental_hz * time + random.random()))
    onsets = np.array(sorted(BEATS[latents["rhythm"]])) * DURATION_S / NUM_SLOTS
    since = time - onsets[np.searchsorted(onsets, time, side="right") - 1]
    return tone * np.minimum(since / ATTACK_S, 1.0) * np.exp(-since / decay_s)


def _accompany(value: int, time: Wave, random: np.random.Generator) -> Wave:
    """A wave of root mean square about 0.7 inside `BAND_HZ`."""
    low_hz, high_hz = BAND_HZ
    phase = random.random()
    if value == 3:
        turns = random.uniform(low_hz, high_hz, (NUM_TONES, 1)) * time + random.random((NUM_TONES, 1))
        hiss: Wave = np.sin(2 * np.pi * turns).sum(0) / np.sqrt(NUM_TONES)
        return hiss
    along = (time * SWEEPS_PER_S + phase) % 1.0
    height = (np.full_like(time, 0.5), along, 1 - along)[value]
    tone: Wave = np.sin(2 * np.pi * np.cumsum(low_hz + (high_hz - low_hz) * height) * (time[1] - time[0]))
    return tone
