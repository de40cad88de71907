"""The spectrogram that DAVEnet and its descendants are trained on: 40 bands, 100 frames per second, decibel."""

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

SAMPLE_RATE_HZ = 16_000
NUM_BANDS = 40
_WINDOW, _HOP = 400, 160
_GAIN = 10 ** (-4 / 20)
_PRE_EMPHASIS = 0.97
_EMPTY = 200
_LEAST_POWER, _RANGE_DB = 1e-10, 80.0
# So many frames at a time: the spectrum of an hour would be 0.6 GB.
_BLOCK = 8192


def decibel_mel(
    waveform: Float32[np.ndarray, " samples"], padding: Literal["reflect", "constant"] = "reflect"
) -> Float32[np.ndarray, "40 frames"]:
    """Decibel below the loudest value of this array, in [-80, 0], of `1 + samples // 160` frames.

    Of a mono waveform at 16 kHz: gain of -4 dB, minus its mean, pre-emphasis x_n - 0.97 x_(n-1) with x_0 kept; without
    samples, 200 zeros. Then X, the Fourier transform of 400 samples under a symmetric Hamming window every 160 samples,
    frame t centred at sample 160 t of the waveform with its ends mirrored (`padding="constant"`: with zeros, as librosa
    does from 0.10 on; the published features are older); M, 40 triangles of |X|^2 from 20 Hz to 8 kHz on Slaney's
    scale, of equal area; 10 log10(max(M, 1e-10)) minus its maximum, and at least -80. Silence is 0 everywhere.

    Source: Harwath et al., ECCV 2018; Rouditchenko et al., Interspeech 2021. They store 16-bit samples in between,
    which is left out here.
    """
    samples = np.zeros(_EMPTY, np.float32) if len(waveform) == 0 else _emphasised(waveform * np.float32(_GAIN))
    padded = torch.from_numpy(np.pad(samples, _WINDOW // 2, mode=padding))
    frames = 1 + len(samples) // _HOP
    blocks = [_power(padded, first, min(first + _BLOCK, frames)) for first in range(0, frames, _BLOCK)]
    level = 10.0 * torch.log10(torch.cat(blocks, dim=1).clamp(min=_LEAST_POWER))
    level = level - level.max()
    return np.asarray(level.clamp(min=-_RANGE_DB).numpy(), dtype=np.float32)


def _emphasised(waveform: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " samples"]:
    centred = waveform - waveform.mean(dtype=np.float64).astype(np.float32)
    return np.concatenate([centred[:1], centred[1:] - np.float32(_PRE_EMPHASIS) * centred[:-1]])


def _power(padded: Float[Tensor, " samples"], first: int, end: int) -> Float[Tensor, "40 frames"]:
    """Band powers of frames `first` to `end`."""
    part = padded[first * _HOP : (end - 1) * _HOP + _WINDOW]
    spectrum = torch.stft(part, _WINDOW, _HOP, window=_window(), center=False, return_complex=True)
    return _bands() @ (spectrum.real.square() + spectrum.imag.square())


@lru_cache(maxsize=1)
def _window() -> Float[Tensor, " 400"]:
    return torch.hamming_window(_WINDOW, periodic=False, dtype=torch.float64).float()


@lru_cache(maxsize=1)
def _bands() -> Float[Tensor, "40 201"]:
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(
        _WINDOW // 2 + 1, NUM_BANDS, 20.0, SAMPLE_RATE_HZ / 2, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
    )
    return torch.from_numpy(bank.T.copy()).float()
