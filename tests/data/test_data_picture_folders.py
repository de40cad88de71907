"""Frames and flow as folders of numbered pictures: order, pairs in two folders, and folders that are none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from awase.config import FlowInput, VideoInput
from awase.data.decode import Cell, decode
from awase.data.decode_flow import decode_flow, middles
from awase.data.decode_video import decode_video
from awase.data.manifest import fingerprint_path
from awase.data.media import Clip
from awase.data.picture_folders import component_folders, flow_pictures, frame_pictures
from awase.data.source import MediaError
from awase.data.transforms import Context, flip


def save_level(path: Path, level: int) -> Path:
    return save(path, np.full((5, 7), level, dtype=np.uint8))


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def test_a_folder_of_pictures_is_a_video_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 2, 1, 11, 3, 8):
        save_level(tmp_path / f"frame{number}.png", 20 * number)
    setting = VideoInput(column="v", num_frames=7, height=5, width=7, channels=1)
    video = decode_video(tmp_path, Clip(), setting)
    assert video is not None
    assert video.shape == (7, 5, 7, 1)
    assert video[:, 2, 3, 0].tolist() == [20, 40, 60, 160, 180, 200, 220]
    fewer = decode_video(tmp_path, Clip(), setting.model_copy(update={"num_frames": 3, "channels": 3}))
    assert fewer is not None
    assert fewer[:, 0, 0].tolist() == [[40] * 3, [160] * 3, [200] * 3]
    more = decode_video(tmp_path, Clip(), setting.model_copy(update={"num_frames": 14}))
    assert more is not None
    assert more[:, 0, 0, 0].tolist() == [level for level in (20, 40, 60, 160, 180, 200, 220) for _ in range(2)]


def test_frames_and_flow_may_share_a_folder(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        save_level(tmp_path / f"img_{number:05d}.png", number)
    for number in (1, 2):
        save_level(tmp_path / f"flow_x_{number:05d}.png", 100)
        save_level(tmp_path / f"flow_y_{number:05d}.png", 200)
    assert [path.name for path in frame_pictures(tmp_path)] == [f"img_0000{n}.png" for n in (1, 2, 3)]
    horizontal, vertical = flow_pictures(tmp_path)
    assert [path.name for path in horizontal] == ["flow_x_00001.png", "flow_x_00002.png"]
    assert [path.name for path in vertical] == ["flow_y_00001.png", "flow_y_00002.png"]


def test_frames_named_after_their_video_are_frames(tmp_path: Path) -> None:
    save_level(tmp_path / "v_Archery_g01_c01_1.png", 1)
    assert len(frame_pictures(tmp_path)) == 1


@pytest.mark.parametrize(
    ("clip", "window_s"), [(Clip(start_s=0.5), None), (Clip(end_s=0.5), None), (Clip(), 1.0), (Clip(0.0, 1.0), 1.0)]
)
def test_a_part_in_seconds_of_pictures_is_refused(tmp_path: Path, clip: Clip, window_s: float | None) -> None:
    save_level(tmp_path / "1.png", 1)
    with pytest.raises(MediaError, match="which have no times"):
        decode_video(tmp_path, clip, VideoInput(column="v", window_s=window_s))


def test_a_folder_without_frames_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    save_level(tmp_path / "flow_x_1.png", 1)
    with pytest.raises(MediaError, match="without frame pictures"):
        decode_video(tmp_path, Clip(), VideoInput(column="v"))


def test_horizontal_and_vertical_flow_may_lie_in_two_folders(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        save_level(tmp_path / "tvl1" / "u" / "v_X" / f"frame{number}.png", number)
        save_level(tmp_path / "tvl1" / "v" / "v_X" / f"frame{number}.png", 100 + number)
    setting = FlowInput(column="f", num_frames=3, height=5, width=7)
    flow = decode(setting, Cell("tvl1/{u,v}/v_X", tmp_path, Clip()))
    assert isinstance(flow, np.ndarray)
    expected = np.array([[1, 101], [2, 102], [10, 110]]) / 127.5 - 1
    np.testing.assert_allclose(flow, np.broadcast_to(expected[:, None, None], (3, 5, 7, 2)), atol=1e-6)


def test_every_pair_of_braces_takes_the_same_side() -> None:
    assert component_folders(Path("{a,b}/x/{c,d}")) == (Path("a/x/c"), Path("b/x/d"))
    assert component_folders(Path("{a}/x,y/{}")) is None


def test_flow_whose_components_do_not_belong_together_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "{u,v}"
    with pytest.raises(MediaError, match="no such folders"):
        decode_flow(path, FlowInput(column="f"))
    for number in (1, 2, 3):
        save_level(tmp_path / "u" / f"{number}.png", 1)
    with pytest.raises(MediaError, match="3 horizontal and 0 vertical"):
        decode_flow(path, FlowInput(column="f"))
    for number in (1, 2, 4):
        save_level(tmp_path / "v" / f"{number}.png", 1)
    with pytest.raises(MediaError, match=r"pairs '3.png' with '4.png'"):
        decode_flow(path, FlowInput(column="f"))


def test_the_flow_of_a_mirrored_film_is_the_flipped_flow(tmp_path: Path) -> None:
    """A film mirrored left to right moves the other way: its u pictures are mirrored and 255 - g, its v mirrored."""
    generator = np.random.default_rng(3)
    u, v = (generator.integers(0, 256, (3, 5, 7), dtype=np.uint8) for _ in range(2))
    for number in range(3):
        save(tmp_path / "film" / "u" / f"{number}.png", u[number])
        save(tmp_path / "film" / "v" / f"{number}.png", v[number])
        save(tmp_path / "mirrored" / "u" / f"{number}.png", 255 - u[number][:, ::-1])
        save(tmp_path / "mirrored" / "v" / f"{number}.png", v[number][:, ::-1].copy())
    setting = FlowInput(column="f", num_frames=3, height=5, width=7)
    flipped = flip(decode_flow(tmp_path / "film", setting), Context("flow"))
    # The grey values are integers over 127.5: the sign differs by rounding of float32 alone.
    np.testing.assert_allclose(flipped, decode_flow(tmp_path / "mirrored", setting), atol=2e-7)


def test_the_fingerprint_of_a_pair_sees_both_folders(tmp_path: Path) -> None:
    path = tmp_path / "{u,v}" / "v_X"
    prints = [fingerprint_path(path)]
    for side in ("u", "v"):
        save_level(tmp_path / side / "v_X" / "1.png", 1)
        prints.append(fingerprint_path(path))
    assert len(set(prints)) == 3
    odd = tmp_path / "odd{a,b}.mp4"
    odd.write_bytes(b"one")
    first = fingerprint_path(odd)
    odd.write_bytes(b"two")
    assert fingerprint_path(odd) not in (first, "missing")


def test_middles_of_parts_are_taken() -> None:
    assert middles(10, 2) == [2, 7]
    assert middles(2, 4) == [0, 0, 1, 1]
