"""Noise at an exact signal-to-noise ratio."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

Waveform = Float32[np.ndarray, " samples"]
Voices = Callable[[int, np.random.Generator, int], list[np.ndarray]]
"""(row, generator, number) -> so many other training clips."""


def add_noise(signal: Waveform, noise: Waveform, snr_db: float) -> Waveform:
    """signal + g noise with g such that 10 log10(P_signal / P_(g noise)) = `snr_db`, P the mean square.

    A signal or noise of zeros has no ratio: the signal comes back unchanged.
    """
    signal_power, noise_power = _power(signal), _power(noise)
    if signal_power == 0 or noise_power == 0:
        return signal
    gain = np.sqrt(signal_power / noise_power / 10 ** (snr_db / 10))
    return signal + np.float32(gain) * noise


def white_noise(num_samples: int, generator: np.random.Generator) -> Waveform:
    """Independent normal samples."""
    return generator.standard_normal(num_samples, dtype=np.float32)


def stretch(recording: np.ndarray, num_samples: int, generator: np.random.Generator) -> Waveform:
    """`num_samples` of a recording from a random place, scaled so that the whole recording has the mean square 1.

    A recording that is shorter begins at a random place of the stretch, which is zero elsewhere; a silent one gives
    zeros.
    """
    voice = np.zeros(num_samples, dtype=np.float32)
    slack = len(recording) - num_samples
    start = int(generator.integers(0, abs(slack) + 1))
    if slack >= 0:
        voice[:] = recording[start : start + num_samples]
    else:
        voice[start : start + len(recording)] = recording
    power = _power(recording)
    return voice * np.float32(power**-0.5) if power > 0 else np.zeros_like(voice)


def babble(voices: list[np.ndarray], num_samples: int) -> Waveform:
    """The sum of the voices."""
    total = np.zeros(num_samples, dtype=np.float32)
    for voice in voices:
        total += voice
    return total


def _power(waveform: np.ndarray) -> float:
    return float(np.dot(waveform, waveform)) / max(1, len(waveform))
