"""Frames are those shown at the wanted times, at the wanted size; broken files say why."""

from pathlib import Path

import numpy as np
import pytest
from media_files import grey_frames, tone, write_video

from awase.config import VideoInput
from awase.data.decode_video import decode_video
from awase.data.media import Clip
from awase.data.source import MediaError

LEVELS = [20 * k for k in range(12)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames at 10 per second, each of its own grey."""
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", grey_frames(LEVELS), fps=10)


def shown(path: Path, clip: Clip, num_frames: int, window_s: float | None = None) -> list[int]:
    """Numbers of the frames, told by their grey."""
    setting = VideoInput(column="clip", num_frames=num_frames, height=16, width=24, window_s=window_s)
    frames = decode_video(path, clip, setting)
    assert frames is not None
    assert frames.shape == (num_frames, 16, 24, 3)
    # MPEG-4 and the change of colour space move greys by a few of 255.
    means = frames.astype(float).mean(axis=(1, 2, 3))
    numbers = np.round(means / 20).astype(int)
    assert np.abs(means - 20 * numbers).max() < 6
    return numbers.tolist()


def by_definition(start: float, end: float, num_frames: int) -> list[int]:
    """The last frame that begins by the middle of each part; the first and last one beyond the ends."""
    times = [start + (k + 0.5) * (end - start) / num_frames for k in range(num_frames)]
    return [min(11, max(0, int(np.floor(time * 10 + 1e-2)))) for time in times]


@pytest.mark.parametrize("num_frames", [1, 5, 12, 19])
def test_frames_of_a_whole_file_are_evenly_spaced(clip: Path, num_frames: int) -> None:
    assert shown(clip, Clip(), num_frames) == by_definition(0, 1.2, num_frames)


@pytest.mark.parametrize(
    ("start", "end", "window"), [(0.3, 0.7, None), (0.3, 0.7, 1.0), (0.9, 1.2, 0.6), (0.0, 0.1, 0.5)]
)
def test_frames_of_a_clip_and_of_the_window_around_it(
    clip: Path, start: float, end: float, window: float | None
) -> None:
    half = ((end - start) if window is None else window) / 2
    middle = (start + end) / 2
    assert shown(clip, Clip(start, end), 5, window) == by_definition(middle - half, middle + half, 5)


def test_a_late_clip_of_a_long_file_is_found_by_seeking(tmp_path: Path) -> None:
    levels = [(20 * k) % 240 for k in range(60)]
    path = write_video(tmp_path / "long.mp4", grey_frames(levels), fps=10)
    assert shown(path, Clip(4.5, 5.0), 5) == [(45 + k) % 12 for k in range(5)]


def test_the_centre_is_cut_out_and_grey_has_one_channel(tmp_path: Path) -> None:
    frames = grey_frames([0] * 3, height=32, width=96)
    frames[:, :, 32:64] = 200
    path = write_video(tmp_path / "wide.mp4", frames)
    picture = decode_video(path, Clip(), VideoInput(column="c", num_frames=1, height=16, width=16, channels=1))
    assert picture is not None
    assert picture.shape == (1, 16, 16, 1)
    assert picture[:, :, 2:-2].min() > 180


def test_a_file_with_sound_only_has_no_frames(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "sound.wav", tone(440, 0.5, 8000), 8000)
    assert decode_video(tmp_path / "sound.wav", Clip(), VideoInput(column="c")) is None


def test_truncated_mp4_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), dtype=np.uint8)
    content = write_video(tmp_path / "whole.mp4", noise).read_bytes()
    setting = VideoInput(column="c", num_frames=4, height=16, width=16)
    for share in (0.2, 0.5, 0.9):
        path = tmp_path / f"{share}.mp4"
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(MediaError, match=r"truncated"):
            decode_video(path, Clip(), setting)


@pytest.mark.parametrize("content", [b"", b"not a video", b"\0" * 5000])
def test_files_that_are_no_video_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(MediaError, match=r"cannot be decoded"):
        decode_video(tmp_path / "x.mp4", Clip(), VideoInput(column="c"))


def test_missing_files_and_impossible_clips_are_refused(clip: Path, tmp_path: Path) -> None:
    setting = VideoInput(column="c")
    with pytest.raises(MediaError, match=r"no such file"):
        decode_video(tmp_path / "none.mp4", Clip(), setting)
    with pytest.raises(MediaError, match=r"outside the file of 1.200 s"):
        decode_video(clip, Clip(5.0, 6.0), setting)
    with pytest.raises(MediaError, match=r"ends at 0.2 s, not after its start at 0.5 s"):
        decode_video(clip, Clip(0.5, 0.2), setting)
