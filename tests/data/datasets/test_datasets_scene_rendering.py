import numpy as np
import pytest

from awase.config import VideoInput
from awase.data.datasets.scene_audio import DURATION_S, FUNDAMENTALS_HZ, render_audio
from awase.data.datasets.scene_factors import FACTORS, NUM_VALUES, SHOWN, Latents
from awase.data.datasets.scene_text import render_text, vocabulary
from awase.data.datasets.scene_video import BEATS, COLOURS, GREYS, render_video

ENTRY = VideoInput(column="video", num_frames=6, height=47, width=53)
PLAIN: Latents = dict.fromkeys(FACTORS, 0)


def render(modality: str, latents: Latents, noise: float = 0.0, seed: int = 7) -> np.ndarray | str:
    random = np.random.default_rng(seed)
    if modality == "video":
        return render_video(latents, ENTRY, noise, random)
    if modality == "audio":
        return render_audio(latents, 8000, noise, random)
    return render_text(latents, noise, random)


@pytest.mark.parametrize("modality", SHOWN)
@pytest.mark.parametrize("factor", FACTORS)
def test_a_modality_shows_its_factors_and_no_other(modality: str, factor: str) -> None:
    rendered = [render(modality, PLAIN | {factor: value}) for value in range(NUM_VALUES)]
    distinct = {sample if isinstance(sample, str) else sample.tobytes() for sample in rendered}
    assert len(distinct) == (NUM_VALUES if factor in SHOWN[modality] else 1)


@pytest.mark.parametrize("modality", SHOWN)
def test_nuisances_differ_between_generators(modality: str) -> None:
    rendered = [render(modality, PLAIN, seed=seed) for seed in range(12)]
    assert len({sample if isinstance(sample, str) else sample.tobytes() for sample in rendered}) > 1


def test_frames_have_the_size_and_channels_of_the_input() -> None:
    for channels in (1, 3):
        entry = VideoInput(column="v", num_frames=5, height=11, width=17, channels=channels)
        frames = render_video(PLAIN, entry, 0.0, np.random.default_rng(0))
        assert frames.shape == (5, 11, 17, channels)
        assert frames.dtype == np.uint8


@pytest.mark.parametrize("theme", range(NUM_VALUES))
@pytest.mark.parametrize("rhythm", range(NUM_VALUES))
def test_lit_frames_show_the_full_colour_on_a_larger_shape(theme: int, rhythm: int) -> None:
    frames = render_video(PLAIN | {"theme": theme, "rhythm": rhythm}, ENTRY, 0.0, np.random.default_rng(1))
    full = (frames == np.array(COLOURS[theme])).all(-1)
    dark = (frames == np.rint(0.6 * np.array(COLOURS[theme]))).all(-1)
    for slot in range(6):
        lit = slot in BEATS[rhythm]
        # Discs of radius 0.28 and 0.2 of the sides; a pixel more or less along their edges.
        area = np.pi * (0.28 if lit else 0.2) ** 2 * 47 * 53
        assert (full if lit else dark)[slot].sum() == pytest.approx(area, rel=0.06)
        assert (dark if lit else full)[slot].sum() == 0


def test_backdrops_vary_along_the_axes_they_are_named_for() -> None:
    def varies(value: int) -> tuple[bool, bool]:
        frame = render_video(PLAIN | {"backdrop": value}, ENTRY, 0.0, np.random.default_rng(2))[0]
        # The top row and the left column are free of the shape.
        return len(np.unique(frame[0])) > 1, len(np.unique(frame[:, 0])) > 1

    assert varies(0) == (False, True)
    assert varies(1) == (True, False)
    assert varies(2) == (True, True)
    corner = render_video(PLAIN | {"backdrop": 3}, ENTRY, 0.0, np.random.default_rng(2))[0, :8]
    assert np.unique(corner).tolist() == list(GREYS)


def test_the_grey_of_a_channel_is_the_luminance() -> None:
    entry = VideoInput(column="v", num_frames=6, height=47, width=53, channels=1)
    colour = render_video(PLAIN, ENTRY, 0.0, np.random.default_rng(3)) @ np.array([0.299, 0.587, 0.114])
    grey = render_video(PLAIN, entry, 0.0, np.random.default_rng(3))[..., 0]
    # Two roundings, of the colours and of the grey.
    assert np.abs(grey - colour).max() <= 1.0


def test_pixel_noise_is_relative_to_the_deviation_of_the_clip() -> None:
    clean, noisy = (render("video", PLAIN, noise).astype(float) for noise in (0.0, 0.2))  # type: ignore[union-attr]
    # 45,000 pixels: the deviation is known to 0.4 per cent; rounding adds 1/12.
    assert (noisy - clean).std() == pytest.approx(np.hypot(0.2 * clean.std(), 12**-0.5), rel=0.03)


@pytest.mark.parametrize("pitch", range(NUM_VALUES))
def test_the_strongest_partial_is_the_fundamental(pitch: int) -> None:
    wave = render_audio(PLAIN | {"pitch": pitch, "rhythm": 3}, 8000, 0.0, np.random.default_rng(4))
    spectrum = np.abs(np.fft.rfft(wave))
    peak_hz = np.argmax(spectrum[: int(2000 * DURATION_S)]) / DURATION_S
    # Detuned by up to 1.5 per cent, read to 1/0.6 s; notes every 0.1 s spread the line by 10 Hz.
    assert abs(peak_hz - FUNDAMENTALS_HZ[pitch]) < 0.015 * FUNDAMENTALS_HZ[pitch] + 12


@pytest.mark.parametrize("rhythm", range(NUM_VALUES))
def test_notes_begin_where_the_shape_lights_up(rhythm: int) -> None:
    plucked = PLAIN | {"theme": 2, "pitch": 3, "rhythm": rhythm}
    wave = render_audio(plucked, 8000, 0.0, np.random.default_rng(5))
    spectrum = np.fft.rfft(wave)
    spectrum[int(2200 * DURATION_S) :] = 0  # leaves the accompaniment out
    melody = np.fft.irfft(spectrum, len(wave)).reshape(6, 800)
    begins = [
        np.square(melody[slot, 50:250]).mean() > 2 * np.square(melody[slot - 1, -200:]).mean() for slot in range(1, 6)
    ]
    assert begins == [slot in BEATS[rhythm] for slot in range(1, 6)]


def test_the_accompaniment_sounds_in_its_band() -> None:
    for value in range(NUM_VALUES):
        wave = render_audio(PLAIN | {"accompaniment": value}, 8000, 0.0, np.random.default_rng(6))
        power = np.square(np.abs(np.fft.rfft(wave)))
        hertz = np.arange(len(power)) / DURATION_S
        # A flute's one partial lies below; the leaps of sweeps leak a little beyond the band.
        assert power[(hertz > 2250) & (hertz < 3550)].sum() > 0.97 * power[hertz > 1500].sum()


def test_sound_keeps_within_its_range_and_lasts_its_time_at_any_rate() -> None:
    for theme in range(NUM_VALUES):
        wave = render_audio(PLAIN | {"theme": theme, "rhythm": 3}, 11025, 0.0, np.random.default_rng(8))
        assert wave.shape == (6615,)
        assert np.abs(wave).max() < 1


def test_waveform_noise_is_relative_to_the_root_mean_square() -> None:
    clean, noisy = (render_audio(PLAIN, 8000, noise, np.random.default_rng(9)) for noise in (0.0, 0.5))
    # 4,800 samples: the deviation is known to 1 per cent.
    assert (noisy - clean).std() == pytest.approx(0.5 * np.sqrt(np.mean(clean**2)), rel=0.05)


def test_caption_holds_the_four_words_and_fits_its_tokens() -> None:
    latents = {"theme": 3, "rhythm": 1, "pitch": 2, "shape": 1, "backdrop": 2, "accompaniment": 0, "hour": 0}
    captions = {render_text(latents, 0.0, np.random.default_rng(seed)) for seed in range(30)}
    assert len(captions) == 3
    for caption in captions:
        words = caption.split()
        assert {"yellow", "square", "high", "dawn"} <= set(words) <= set(vocabulary())
        assert len(words) <= 14


def test_words_are_replaced_with_the_given_probability() -> None:
    def changed(noise: float) -> float:
        pairs = [
            (render_text(PLAIN, 0.0, np.random.default_rng(s)), render_text(PLAIN, noise, np.random.default_rng(s)))
            for s in range(500)
        ]
        return float(np.mean([a != b for one, two in pairs for a, b in zip(one.split(), two.split(), strict=True)]))

    assert changed(0.0) == 0
    # About 4,700 words; one replacement in len(vocabulary()) draws the word that was there; five deviations.
    for noise in (0.3, 1.0):
        expected = noise * (1 - 1 / len(vocabulary()))
        assert abs(changed(noise) - expected) < 5 * np.sqrt(expected * (1 - expected) / 4700)
