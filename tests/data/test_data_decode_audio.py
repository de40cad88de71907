"""Waveforms: the right window, rate and level, from sound files and from videos."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from media_files import grey_frames, tone, write_video

from awase.config import AudioInput
from awase.data.decode_audio import decode_audio, resample
from awase.data.media import Clip
from awase.data.source import MediaError

RATE = 8000


def read(path: Path, clip: Clip = Clip(), rate: int = RATE, **options: object) -> np.ndarray:  # noqa: B008
    wave = decode_audio(path, clip, AudioInput.model_validate({"column": "a", "sample_rate_hz": rate, **options}))
    assert wave is not None
    assert wave.dtype == np.float32
    return wave


@pytest.fixture(scope="module")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.5 s whose sample k is k / 8000."""
    path = tmp_path_factory.mktemp("audio") / "ramp.wav"
    soundfile.write(path, np.arange(4000, dtype=np.float32) / 8000, RATE, subtype="FLOAT")
    return path


def test_a_whole_file_is_read_exactly(ramp: Path) -> None:
    assert np.array_equal(read(ramp), np.arange(4000, dtype=np.float32) / 8000)


def test_a_clip_and_its_window_are_read_exactly(ramp: Path) -> None:
    whole = np.arange(4000, dtype=np.float32) / 8000
    assert np.array_equal(read(ramp, Clip(0.1, 0.2)), whole[800:1600])
    assert np.array_equal(read(ramp, Clip(0.1, 0.2), window_s=0.05), whole[1000:1400])


def test_outside_of_the_file_there_are_zeros(ramp: Path) -> None:
    whole = np.arange(4000, dtype=np.float32) / 8000
    wide = read(ramp, window_s=0.7)
    assert np.array_equal(wide, np.concatenate([np.zeros(800), whole, np.zeros(800)]).astype(np.float32))
    early = read(ramp, Clip(0.0, 0.1), window_s=0.3)
    assert np.array_equal(early, np.concatenate([np.zeros(800), whole[:1600]]).astype(np.float32))


def test_too_short_audio_is_refused_when_asked(ramp: Path) -> None:
    with pytest.raises(MediaError, match=r"has 0.500 s of audio in the window of 0.700 s"):
        read(ramp, window_s=0.7, short="error")
    assert len(read(ramp, window_s=0.505, short="error")) == 4040


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(300, 0.2, RATE), tone(500, 0.2, RATE)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "stereo.wav"), (left + right) / 2, atol=1e-7)


def test_another_rate_keeps_the_tone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "t.flac", tone(440, 0.5, 22_050), 22_050)
    wave = read(tmp_path / "t.flac", rate=16_000)
    assert len(wave) == 8000
    # The filter rings at the ends; FLAC keeps 16 bits.
    np.testing.assert_allclose(wave[200:-200], tone(440, 0.5, 16_000)[200:-200], atol=2e-3)
    assert resample(tone(440, 0.1, 8000), 8000, 16_000).shape == (1600,)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of 400 Hz, then half a second of 1200 Hz, under a video."""
    wave = np.concatenate([tone(400, 0.5, RATE), tone(1200, 0.5, RATE)])
    return write_video(tmp_path_factory.mktemp("audio") / "v.mp4", grey_frames([0] * 10), audio=wave)


def loudest_hz(wave: np.ndarray, rate: int = RATE) -> float:
    return float(np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave))


def test_the_audio_track_of_a_video_is_in_time(video: Path) -> None:
    assert loudest_hz(read(video, Clip(0.05, 0.45))) == pytest.approx(400, abs=5)
    assert loudest_hz(read(video, Clip(0.55, 0.95))) == pytest.approx(1200, abs=5)
    assert len(read(video, Clip(0.2, 0.4), window_s=0.3)) == 2400
    wave = read(video, Clip(0.1, 0.3))
    # AAC is lossy; one sample too early or late would make the correlation cos(2 pi 400 / 8000) = 0.951.
    assert np.corrcoef(wave, tone(400, 0.5, RATE)[800:2400])[0, 1] > 0.99


def test_a_video_without_sound_has_no_audio(tmp_path: Path) -> None:
    path = write_video(tmp_path / "mute.mp4", grey_frames([0] * 3))
    assert decode_audio(path, Clip(), AudioInput(column="a")) is None


def test_seeking_in_a_long_file_gives_the_same_samples(tmp_path: Path) -> None:
    wave = np.random.default_rng(1).normal(scale=0.1, size=6 * RATE).astype(np.float32)
    path = write_video(tmp_path / "long.mp4", grey_frames([0] * 60), audio=wave)
    whole = read(path)
    np.testing.assert_allclose(read(path, Clip(4.5, 5.0)), whole[int(4.5 * RATE) : 5 * RATE], atol=1e-6)


@pytest.mark.parametrize("name", ["x.wav", "x.mp4"])
def test_broken_and_missing_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MediaError, match=r"no such file"):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(b"RIFFnonsense")
    with pytest.raises(MediaError, match=r"cannot be decoded"):
        read(tmp_path / name)


def test_truncated_audio_is_refused(tmp_path: Path) -> None:
    wave = np.random.default_rng(1).normal(scale=0.1, size=4 * RATE).astype(np.float32)
    content = write_video(tmp_path / "w.mp4", grey_frames([0] * 40), audio=wave).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: int(0.6 * len(content))])
    with pytest.raises(MediaError, match=r"truncated"):
        read(tmp_path / "cut.mp4")


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan, 0], dtype=np.float32), RATE, subtype="FLOAT")
    with pytest.raises(MediaError, match=r"not finite"):
        read(tmp_path / "nan.wav")
