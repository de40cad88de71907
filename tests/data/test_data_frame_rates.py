"""Frames at constant rates are those of FFmpeg's filter `fps`, and those of the rule written out."""

import math
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import grey_frames, tone, write_video
from timed_film import begins_s, by_ffmpeg, mean_grey, write_timed

from awase.data.frame_rates import centre_square, frames_at, short_side_picture
from awase.data.media import Clip
from awase.data.source import AbsentTrackError, MediaError

UNEVEN_MS = [0, 40, 490, 500, 530, 1490, 1510, 1511, 3730, 4100]


def means(path: Path, rate: float, clip: Clip | None = None) -> list[float]:
    return [mean_grey(s.frame) for s in frames_at(path, clip or Clip(), [float(rate)]) for _ in range(s.times)]


def times(path: Path, rate: float, clip: Clip | None = None) -> list[float]:
    shown = frames_at(path, clip or Clip(), [float(rate)])
    return [round(float(s.frame.time), 3) for s in shown for _ in range(s.times)]


def by_definition(begins: list[float], rate: float, start: float, num_rows: int) -> list[float]:
    """Of the frames whose time rounds to the row or an earlier one, the last; else the first of all."""
    rows = []
    for row in range(num_rows):
        begun = [time for time in begins if math.floor((time - start) * rate + 0.5 + 1e-9) <= row]
        rows.append(round(begun[-1] if begun else begins[0], 3))
    return rows


@pytest.mark.parametrize("fps", [7, 10, 25])
@pytest.mark.parametrize("rate", [1, 3, 24])
@pytest.mark.parametrize("count", [13, 37])
def test_rows_are_those_of_ffmpeg(tmp_path: Path, fps: int, rate: int, count: int) -> None:
    path = write_video(tmp_path / "a.mp4", grey_frames(list(range(20, 20 + 4 * count, 4))), fps=fps)
    expected = by_ffmpeg(path, str(rate))
    assert means(path, rate) == expected
    assert len(expected) == math.floor(rate * count / fps + 0.5)


@pytest.mark.parametrize("rate", [1, 2, 24])
def test_rows_of_uneven_frames_are_those_of_ffmpeg_and_the_definition(tmp_path: Path, rate: int) -> None:
    path = write_timed(tmp_path / "a.mkv", UNEVEN_MS)
    found = times(path, rate)
    assert means(path, rate) == by_ffmpeg(path, str(rate))
    assert found == by_definition(begins_s(path), rate, 0.0, len(found))


def test_the_exact_times_at_one_per_second(tmp_path: Path) -> None:
    """At 25 per second, row k is the frame at k + 0.48 s; a frame at k + 0.5 s exactly belongs to row k + 1."""
    even = write_video(tmp_path / "even.mp4", grey_frames([50] * 88), fps=25)
    assert times(even, 1) == [0.48, 1.48, 2.48, 3.48]  # 3.52 s: the last row is a whole one, as 3.52 rounds to 4
    half = write_video(tmp_path / "half.mp4", grey_frames([50] * 14), fps=10)
    assert times(half, 1) == [0.4]  # 1.4 s
    assert times(write_timed(tmp_path / "uneven.mkv", UNEVEN_MS), 1)[:4] == [0.49, 1.49, 1.511, 1.511]


def test_a_short_film_has_one_row(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", grey_frames([90, 200]), fps=10)
    assert times(path, 1) == [0.1]  # FFmpeg would give none of 0.2 s
    assert times(path, 24) == by_definition([0.0, 0.1], 24, 0.0, 5)


@pytest.mark.parametrize("clip", [Clip(1.23, 3.4), Clip(2.9, 3.0), Clip(3.31), Clip(None, 2.2), Clip(2.5, 99.0)])
@pytest.mark.parametrize("rate", [1.0, 1.5, 24.0])
def test_clips_count_from_their_start(tmp_path: Path, clip: Clip, rate: float) -> None:
    path = write_video(tmp_path / "a.mp4", grey_frames(list(range(10, 210, 4))), fps=10)
    start, end = clip.start_s or 0.0, min(5.0, clip.end_s or 5.0)
    num_rows = max(1, math.floor((end - start) * rate + 0.5 + 1e-9))
    assert times(path, rate, clip) == by_definition(begins_s(path), rate, start, num_rows)


def test_several_rates_in_one_pass_are_those_of_separate_passes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", grey_frames(list(range(10, 190, 4))), fps=10)
    rates = [1.0, 24.0, 1.5]
    together: list[list[float]] = [[], [], []]
    for shown in frames_at(path, Clip(), rates):
        together[shown.rate] += [round(float(shown.frame.time), 3)] * shown.times
    assert together == [times(path, rate) for rate in rates]


def test_before_the_first_frame_it_counts_as_shown(tmp_path: Path) -> None:
    path = write_timed(tmp_path / "a.mkv", [1700, 2200, 2900, 3300], sound_s=4.0)
    assert times(path, 1) == [1.7, 1.7, 2.2]  # the film ends at 3.34 s, before the sound
    assert times(path, 2, Clip(1.0, 2.5)) == [1.7, 1.7, 2.2]


def test_a_file_that_begins_late_begins_at_zero(tmp_path: Path) -> None:
    path = write_timed(tmp_path / "a.mkv", [1700, 2200, 2900, 3300])
    assert times(path, 1) == by_definition(begins_s(path), 1, 1.7, 2)


def test_files_without_a_film(tmp_path: Path) -> None:
    sound = write_video(tmp_path / "a.mp4", grey_frames([60]), audio=tone(440, 1.0, 8000))
    with av.open(str(sound)) as container, av.open(str(tmp_path / "only.m4a"), "w") as out:
        stream = out.add_stream_from_template(container.streams.audio[0])
        for packet in container.demux(container.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    with pytest.raises(AbsentTrackError, match="no video track"):
        list(frames_at(tmp_path / "only.m4a", Clip(), [1.0]))
    with pytest.raises(MediaError, match="no such file"):
        list(frames_at(tmp_path / "none.mp4", Clip(), [1.0]))
    with pytest.raises(MediaError, match="outside the file"):
        list(frames_at(sound, Clip(7.0, 9.0), [1.0]))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_file_cut_short_is_truncated(tmp_path: Path, name: str) -> None:
    frames = np.random.default_rng(3).integers(0, 255, (40, 32, 48, 3), dtype=np.uint8)
    path = write_video(tmp_path / name, frames, fps=10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match=r"truncated|decoded"):
        list(frames_at(path, Clip(), [1.0]))


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(64, 96, (32, 48)), (96, 64, (48, 32)), (50, 74, (32, 47)), (40, 40, (32, 32))]
)
def test_the_shorter_side_is_scaled(height: int, width: int, expected: tuple[int, int]) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 77, dtype=np.uint8), format="rgb24")
    picture = short_side_picture(frame, 32)
    assert picture.shape == (*expected, 3)
    assert abs(int(picture.mean()) - 77) <= 1
    assert centre_square(picture, 32).shape == (32, 32, 3)


def test_the_square_is_the_middle() -> None:
    picture = np.arange(5 * 12 * 3, dtype=np.uint8).reshape(5, 12, 3)
    assert np.array_equal(centre_square(picture, 5), picture[:, 3:8])
