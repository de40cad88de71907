"""Waveforms to spectrograms, by the name of a preset."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from awase.data.decibel_mel import NUM_BANDS, SAMPLE_RATE_HZ, decibel_mel

WAVEFORM = "waveform"
AVLNET = "avlnet_40"
_WINDOW_S, _HOP_S = 0.025, 0.010
_WINDOW_SUM = 200.0
_LOG_MEL_MEAN, _LOG_MEL_STD = -5.0, 4.0


@dataclass(frozen=True)
class Plan:
    """Sizes in samples, and the matrix from frequencies to bands (`None`: the frequencies themselves)."""

    window: Tensor
    hop: int
    num_fft: int
    bands: Tensor | None

    @property
    def num_bins(self) -> int:
        return self.num_fft // 2 + 1 if self.bands is None else len(self.bands)


def spectrogram(
    waveforms: Float[Tensor, "batch samples"], representation: str, sample_rate_hz: int
) -> Float[Tensor, "batch 1 bins frames"]:
    """Spectrograms of `samples // hop + 1` frames, frame t centred at sample t x hop, zeros outside of the waveform.

    `log_mel_N` (N = 40, 64, 80, 128): X is the Fourier transform of 25 ms under a Hann window (periodic, scaled to the
    sum 200 that it has at 16 kHz, so that levels do not depend on the rate), every 10 ms, over the smallest power of
    two of at least 25 ms and 8 N samples; M are N triangular bands (Slaney's scale, peak 1, 20 Hz to half the rate) of
    |X|^2, divided by how much denser its frequencies are than those of 512 samples at 16 kHz; the result is
    (ln(M + 1e-6) + 5) / 4, where -5 and 4 are about the mean and standard deviation of speech.
    `ogm_ge_257`: ln(|X| + 1e-7), 512 samples, hop 353, as the audio-visual balancing literature uses at 22 050 Hz.
    `avlnet_40`: `decibel_mel`, at 16 kHz alone; decibel below the loudest value of each waveform, in [-80, 0].
    Raises `ValueError` for another name.
    """
    plan = plan_of(representation, sample_rate_hz)
    if representation == AVLNET:
        return torch.stack([torch.from_numpy(decibel_mel(wave.numpy())) for wave in waveforms]).unsqueeze(1)
    spectrum = torch.stft(
        waveforms,
        plan.num_fft,
        hop_length=plan.hop,
        win_length=len(plan.window),
        window=plan.window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )  # (batch, frequencies, frames)
    if plan.bands is None:
        return torch.log(spectrum.abs() + 1e-7).unsqueeze(1)
    power = spectrum.real.square().add_(spectrum.imag.square())
    log_mel = torch.log(plan.bands @ power + 1e-6)
    return ((log_mel - _LOG_MEL_MEAN) / _LOG_MEL_STD).unsqueeze(1)


def spectrogram_shape(representation: str, sample_rate_hz: int, num_samples: int) -> tuple[int, ...]:
    """The shape of one sample's tensor: (1, bins, frames), or (samples,) for `waveform`."""
    if representation == WAVEFORM:
        return (num_samples,)
    plan = plan_of(representation, sample_rate_hz)
    return (1, plan.num_bins, num_samples // plan.hop + 1)


@lru_cache(maxsize=32)
def plan_of(representation: str, sample_rate_hz: int) -> Plan:
    """The sizes and bands of a preset; raises `ValueError` that lists the names for any other."""
    if representation not in PRESETS:
        names = ", ".join([WAVEFORM, *PRESETS])
        raise ValueError(f"{representation!r} is not a representation of audio; use one of {names}.")
    return PRESETS[representation](sample_rate_hz)


def _log_mel(num_bands: int) -> Callable[[int], Plan]:
    def plan(sample_rate_hz: int) -> Plan:
        length = round(_WINDOW_S * sample_rate_hz)
        num_fft = 2 ** math.ceil(math.log2(max(length, 8 * num_bands)))
        window = torch.hann_window(length, dtype=torch.float64)
        window = (window * (_WINDOW_SUM / window.sum())).float()
        density = (16_000 / 512) / (sample_rate_hz / num_fft)
        bands = _mel_bands(num_bands, num_fft, sample_rate_hz) / density
        return Plan(window, round(_HOP_S * sample_rate_hz), num_fft, bands)

    return plan


def _mel_bands(num_bands: int, num_fft: int, sample_rate_hz: int) -> Float[Tensor, "bands frequencies"]:
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(num_fft // 2 + 1, num_bands, 20.0, sample_rate_hz / 2, sample_rate_hz, mel_scale="slaney")
    return torch.from_numpy(bank.T.copy()).float()


def _ogm_ge(sample_rate_hz: int) -> Plan:
    return Plan(torch.hann_window(512), 353, 512, None)


def _avlnet(sample_rate_hz: int) -> Plan:
    if sample_rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"{AVLNET!r} is defined at 16,000 samples per second; set sample_rate_hz to that.")
    return Plan(torch.empty(400), 160, 400, torch.empty(NUM_BANDS, 201))


PRESETS: dict[str, Callable[[int], Plan]] = {
    "log_mel_40": _log_mel(40),
    "log_mel_64": _log_mel(64),
    "log_mel_80": _log_mel(80),
    "log_mel_128": _log_mel(128),
    "ogm_ge_257": _ogm_ge,
    AVLNET: _avlnet,
}
