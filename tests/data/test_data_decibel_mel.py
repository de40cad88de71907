"""The 40-band decibel spectrogram equals its definition, written out with explicit sums."""

import math
from pathlib import Path

import numpy as np
import pytest

from awase.data.decibel_mel import _BLOCK, decibel_mel


def slaney_mel(hertz: float) -> float:
    """Linear to 1 kHz (200/3 Hz each), then 27 steps for a factor of 6.4."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + math.log(hertz / 1000) * 27 / math.log(6.4)


def slaney_hertz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


def triangles() -> np.ndarray:
    """(40, 201): rising, falling, and of area one in hertz."""
    low, high = slaney_mel(20.0), slaney_mel(8000.0)
    corners = [slaney_hertz(low + (high - low) * k / 41) for k in range(42)]
    bank = np.zeros((40, 201))
    for band in range(40):
        left, middle, right = corners[band : band + 3]
        for bin_ in range(201):
            hertz = bin_ * 40.0
            height = min((hertz - left) / (middle - left), (right - hertz) / (right - middle))
            bank[band, bin_] = max(0.0, height) * 2 / (right - left)
    return bank


def mirrored(samples: list[float], place: int) -> float:
    """The sample at a place outside, the ends being mirrors that are not repeated."""
    period = max(1, 2 * (len(samples) - 1))
    place %= period
    return samples[place if place < len(samples) else period - place]


def slow(wave: np.ndarray, padding: str = "reflect") -> np.ndarray:
    y = [float(x) * 10 ** (-0.2) for x in wave] or None
    if y is None:
        samples = [0.0] * 200
    else:
        mean = sum(y) / len(y)
        centred = [x - mean for x in y]
        samples = [centred[0], *(centred[n] - 0.97 * centred[n - 1] for n in range(1, len(centred)))]
    window = [0.54 - 0.46 * math.cos(2 * math.pi * n / 399) for n in range(400)]
    turn = np.exp(-2j * np.pi * np.outer(np.arange(201), np.arange(400)) / 400)
    columns = []
    for frame in range(1 + len(samples) // 160):
        places = [frame * 160 - 200 + n for n in range(400)]
        if padding == "reflect":
            part = [mirrored(samples, place) for place in places]
        else:
            part = [samples[place] if 0 <= place < len(samples) else 0.0 for place in places]
        columns.append(triangles() @ np.abs(turn @ (np.array(window) * part)) ** 2)
    level = 10 * np.log10(np.maximum(np.stack(columns, axis=1), 1e-10))
    return np.maximum(level - level.max(), -80.0)


@pytest.mark.parametrize("padding", ["reflect", "constant"])
@pytest.mark.parametrize("samples", [1, 2, 97, 401, 1999])
def test_is_its_definition(samples: int, padding) -> None:
    generator = np.random.default_rng(samples)
    wave = (0.3 + generator.normal(scale=0.2, size=samples)).astype(np.float32)
    made = decibel_mel(wave, padding)
    assert made.shape == (40, 1 + samples // 160)
    # Single precision under a logarithm: of values 70 dB below the loudest less is left.
    np.testing.assert_allclose(made, slow(wave, padding), atol=0.02)
    if samples > 1:
        assert made.max() == 0


def test_silence_and_no_samples_are_zero_throughout() -> None:
    assert np.array_equal(decibel_mel(np.zeros(0, np.float32)), np.zeros((40, 2), np.float32))
    assert np.array_equal(slow(np.zeros(0)), np.zeros((40, 2)))
    assert np.array_equal(decibel_mel(np.full(500, 0.25, np.float32)), np.zeros((40, 4), np.float32))


def test_the_range_is_80_decibel_below_the_loudest() -> None:
    wave = np.zeros(3200, np.float32)
    wave[:1600] = np.random.default_rng(1).normal(size=1600)
    made = decibel_mel(wave - 0.0)
    assert (made.min(), made.max()) == (-80.0, 0.0)


def test_blocks_of_a_long_recording_are_one_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = np.random.default_rng(2).normal(scale=0.1, size=16_000).astype(np.float32)
    whole = decibel_mel(wave)
    monkeypatch.setattr("awase.data.decibel_mel._BLOCK", 7)
    assert _BLOCK > 101
    np.testing.assert_allclose(decibel_mel(wave), whole, atol=1e-4)


def test_the_level_of_the_recording_does_not_matter() -> None:
    wave = np.random.default_rng(4).normal(scale=0.1, size=1999).astype(np.float32)
    np.testing.assert_allclose(decibel_mel(wave), decibel_mel(wave * np.float32(0.25)), atol=1e-3)


def test_agrees_with_librosa_where_it_is_installed(tmp_path: Path) -> None:
    librosa = pytest.importorskip("librosa", reason="librosa is an oracle that is not installed by default")
    wave = np.random.default_rng(6).normal(scale=0.1, size=7919).astype(np.float32)
    y = wave - wave.mean()
    y = np.append(y[0], y[1:] - 0.97 * y[:-1])
    spectrum = librosa.stft(y, n_fft=400, hop_length=160, win_length=400, window=np.hamming, pad_mode="reflect")
    bank = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=40, fmin=20)
    expected = librosa.power_to_db(bank @ np.abs(spectrum) ** 2, ref=np.max)
    np.testing.assert_allclose(decibel_mel(wave), expected, atol=0.01)
