"""The ratio of signal to noise is the one asked for."""

import numpy as np
import pytest

from awase.data.noise import add_noise, babble, stretch, white_noise


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


def test_babble_is_the_sum_of_its_voices() -> None:
    generator = np.random.default_rng(4)
    voices = [generator.normal(size=499).astype(np.float32) for _ in range(3)]
    np.testing.assert_allclose(babble(voices, 499), np.sum(voices, axis=0), rtol=1e-6, atol=1e-6)
    assert not babble([], 7).any()


@pytest.mark.parametrize("size", [97, 101, 499])
def test_a_voice_is_a_stretch_of_a_recording_of_power_one(size: int) -> None:
    recording = np.random.default_rng(6).normal(scale=7.0, size=size).astype(np.float32)
    scaled = recording / np.sqrt(np.mean(recording.astype(np.float64) ** 2))
    found = [stretch(recording, 101, np.random.default_rng(seed)) for seed in range(40)]
    padded = np.concatenate([np.zeros(101 - size), scaled, np.zeros(101 - size)]) if size < 101 else scaled
    places = [padded[start : start + 101] for start in range(len(padded) - 100)]
    starts = {int(np.argmin([np.abs(voice - place).max() for place in places])) for voice in found}
    for voice in found:
        assert min(np.abs(voice - place).max() for place in places) < 1e-5
    assert len(starts) == 1 if size == 101 else len(starts) > 3


def test_a_silent_recording_is_a_silent_voice() -> None:
    assert not stretch(np.zeros(300, dtype=np.float32), 50, np.random.default_rng(0)).any()
