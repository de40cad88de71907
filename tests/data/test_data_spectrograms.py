"""Spectrograms equal the Fourier sum written out, and their shapes are known beforehand."""

import math

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank

from awase.data.decibel_mel import decibel_mel
from awase.data.spectrograms import PRESETS, spectrogram, spectrogram_shape


def slow_transform(wave: np.ndarray, window: np.ndarray, num_fft: int, hop: int) -> np.ndarray:
    """|X| by the definition, (frequencies, frames): frame t is centred at t x hop."""
    padded = np.concatenate([np.zeros(num_fft), wave.astype(np.float64), np.zeros(num_fft)])
    margin = (num_fft - len(window)) // 2
    full = np.zeros(num_fft)
    full[margin : margin + len(window)] = window
    angle = -2j * np.pi * np.outer(np.arange(num_fft // 2 + 1), np.arange(num_fft)) / num_fft
    starts = [t * hop + num_fft - num_fft // 2 for t in range(len(wave) // hop + 1)]
    return np.abs(np.stack([np.exp(angle) @ (full * padded[s : s + num_fft]) for s in starts], axis=1))


def periodic_hann(length: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


@pytest.mark.parametrize(("rate", "bands", "num_fft"), [(16_000, 40, 512), (8_000, 64, 512), (11_025, 128, 1024)])
def test_log_mel_is_its_definition(rate: int, bands: int, num_fft: int) -> None:
    waves = np.random.default_rng(7).normal(scale=0.1, size=(2, rate // 13)).astype(np.float32)
    window = periodic_hann(round(0.025 * rate))
    window *= 200 / window.sum()
    filters = mel_filter_bank(num_fft // 2 + 1, bands, 20.0, rate / 2, rate, mel_scale="slaney")
    density = (16_000 / 512) / (rate / num_fft)
    magnitude = np.stack([slow_transform(wave, window, num_fft, round(rate / 100)) for wave in waves])
    expected = (np.log(filters.T @ magnitude**2 / density + 1e-6) + 5) / 4
    made = spectrogram(torch.from_numpy(waves), f"log_mel_{bands}", rate)
    assert made.shape == (2, *spectrogram_shape(f"log_mel_{bands}", rate, waves.shape[1]))
    # Single precision over sums of up to 1024 terms.
    np.testing.assert_allclose(made[:, 0].numpy(), expected, atol=2e-4)


def test_ogm_ge_is_its_definition() -> None:
    wave = np.random.default_rng(3).normal(scale=0.3, size=2203).astype(np.float32)
    expected = np.log(slow_transform(wave, periodic_hann(512), 512, 353) + 1e-7)
    made = spectrogram(torch.from_numpy(wave)[None], "ogm_ge_257", 22_050)
    assert made.shape == (1, 1, 257, 7)
    np.testing.assert_allclose(made[0, 0].numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "avlnet_40"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
def test_no_band_is_empty_and_shapes_agree(name: str, rate: int) -> None:
    wave = torch.zeros(1, 1999)
    wave[0, 997] = 1.0
    made = spectrogram(wave, name, rate)
    assert made.shape[1:] == spectrogram_shape(name, rate, 1999)
    assert bool((made.amax(dim=-1) > spectrogram(torch.zeros(1, 1999), name, rate).max()).all())


def test_avlnet_is_the_decibel_spectrogram_of_each_waveform() -> None:
    waves = torch.from_numpy(np.random.default_rng(8).normal(scale=0.1, size=(3, 1999)).astype(np.float32))
    waves[1] *= 0.01
    made = spectrogram(waves, "avlnet_40", 16_000)
    assert made.shape[1:] == spectrogram_shape("avlnet_40", 16_000, 1999) == (1, 40, 13)
    for row, wave in zip(made, waves, strict=True):
        assert np.array_equal(row[0].numpy(), decibel_mel(wave.numpy()))
        assert row.max() == 0
    with pytest.raises(ValueError, match=r"16,000 samples per second"):
        spectrogram(waves, "avlnet_40", 8_000)


def test_levels_depend_little_on_the_rate() -> None:
    levels = []
    for rate in (8_000, 16_000, 48_000):
        noise = torch.sin(2 * math.pi * 1000 * torch.arange(rate) / rate)[None]
        levels.append(spectrogram(noise, "log_mel_40", rate)[0, 0, :, 50].max().item())
    assert max(levels) - min(levels) < 0.3


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        ValueError, match=r"'mfcc' is not a representation of audio; use one of waveform, log_mel_40, .*"
    ):
        spectrogram(torch.zeros(1, 400), "mfcc", 16_000)
    assert spectrogram_shape("waveform", 16_000, 123) == (123,)
