"""A two-tone signal per digit, the pairs of a telephone's keypad (ITU-T Q.23)."""

import numpy as np
from numpy.typing import NDArray

DURATION_S = 0.5
LOWEST_RATE_HZ = 4000
LOW_HZ = (697.0, 770.0, 852.0, 941.0)
HIGH_HZ = (1209.0, 1336.0, 1477.0)
SHORTEST_S, LONGEST_S = 0.15, 0.4
DETUNING = 0.03
RAMP_S = 0.01
NOISE_RATIO_DB = (-12.0, 6.0)
LEVEL = 0.05


def keypad_hz(digit: int) -> tuple[float, float]:
    """Returns the two frequencies of a digit: 1, 2, 3 in the first row, 0 in the middle of the fourth."""
    row, column = (3, 1) if digit == 0 else divmod(digit - 1, 3)
    return LOW_HZ[row], HIGH_HZ[column]


def render_tone(digit: int, rate_hz: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Returns half a second in [-1, 1] that holds the digit's two tones of equal strength, in white noise.

    Drawn from `random`: the length of the signal (0.15 to 0.4 s), where it begins, the phase of each tone, a detuning
    of each of up to 3 % (neighbouring tones differ by 9 to 11 %), and the ratio of the signal's power while it sounds
    to that of the noise, -12 to 6 dB.
    """
    time = np.arange(round(DURATION_S * rate_hz)) / rate_hz
    length_s = random.uniform(SHORTEST_S, LONGEST_S)
    since = time - random.uniform(0, DURATION_S - length_s)
    envelope = np.clip(np.minimum(since, length_s - since) / RAMP_S, 0, 1)
    tones = [
        np.sin(2 * np.pi * (hertz * random.uniform(1 - DETUNING, 1 + DETUNING) * time + random.random()))
        for hertz in keypad_hz(digit)
    ]
    noise_std = 10 ** (-random.uniform(*NOISE_RATIO_DB) / 20)
    wave = envelope * (tones[0] + tones[1]) + noise_std * random.standard_normal(len(time))
    samples: NDArray[np.float32] = np.clip(LEVEL * wave, -1, 1).astype(np.float32)
    return samples
