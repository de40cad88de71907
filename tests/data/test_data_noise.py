"""The ratio of signal to noise is the one asked for."""

import numpy as np
import pytest

from awase.data.noise import add_noise, babble, white_noise


def decibel(signal: np.ndarray, noise: np.ndarray) -> float:
    return 10 * np.log10(np.mean(signal.astype(np.float64) ** 2) / np.mean(noise.astype(np.float64) ** 2))


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 7.5])
def test_the_ratio_is_exact(snr_db: float) -> None:
    generator = np.random.default_rng(2)
    signal = generator.normal(scale=0.01, size=997).astype(np.float32)
    noise = white_noise(997, generator)
    # What is added is measured as a difference of single-precision sums.
    assert decibel(signal, add_noise(signal, noise, snr_db) - signal) == pytest.approx(snr_db, abs=1e-4)


def test_silence_has_no_ratio() -> None:
    signal, silence = np.ones(5, dtype=np.float32), np.zeros(5, dtype=np.float32)
    assert np.array_equal(add_noise(silence, signal, 3.0), silence)
    assert np.array_equal(add_noise(signal, silence, 3.0), signal)


def test_babble_is_the_sum_at_equal_power() -> None:
    generator = np.random.default_rng(4)
    voices = [generator.normal(scale=scale, size=499).astype(np.float32) for scale in (0.1, 3.0, 20.0)]
    expected = sum(voice / np.sqrt(np.mean(voice.astype(np.float64) ** 2)) for voice in voices)
    np.testing.assert_allclose(babble([*voices, np.zeros(499, dtype=np.float32)], 499), expected, rtol=1e-4, atol=1e-5)
    assert not babble([], 7).any()
