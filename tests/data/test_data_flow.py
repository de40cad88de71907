"""Optical flow of films whose motion is known, what is written of it, and films that have none."""

import sys
from pathlib import Path

import numpy as np
import pytest
from media_files import write_video
from PIL import Image
from scipy.ndimage import gaussian_filter

from awase.config import FlowInput
from awase.data.decode_flow import decode_flow
from awase.data.flow import METHODS, compute_flow, optical_flow, to_grey
from awase.data.grey_frames import grey_frames
from awase.data.media import Clip
from awase.data.source import MediaError
from awase.data.transforms import Context, flip

HEIGHT, WIDTH = 48, 64
INNER = (slice(12, -12), slice(12, -12))


def shifted(right: int, down: int, num_frames: int = 3) -> np.ndarray:
    """(frames, height, width) of a texture that moves so many pixels per frame, without edges coming in."""
    margin = 40
    noise = np.random.default_rng(1).normal(size=(HEIGHT + 2 * margin, WIDTH + 2 * margin))
    texture = gaussian_filter(noise, 2.0)
    grey = np.clip(128 + 50 * texture / texture.std(), 0, 255).astype(np.uint8)
    views = []
    for k in range(num_frames):
        top, left = margin - k * down, margin - k * right
        views.append(grey[top : top + HEIGHT, left : left + WIDTH])
    return np.stack(views)


def save_pictures(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, start=1):
        Image.fromarray(np.ascontiguousarray(frame)).save(folder / f"frame{number}.png")
    return folder


def flow_of(folder: Path, num_frames: int = 2) -> np.ndarray:
    """In pixels."""
    return 20 * decode_flow(folder, FlowInput(column="f", num_frames=num_frames, height=HEIGHT, width=WIDTH))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", ["flow", "flow.npy"])
@pytest.mark.parametrize(("right", "down"), [(3, 0), (-2, 1), (0, -3)])
def test_the_flow_of_a_moving_texture_is_its_motion(
    tmp_path: Path, method: str, form: str, right: int, down: int
) -> None:
    film = save_pictures(tmp_path / "film", shifted(right, down))
    assert compute_flow(film, tmp_path / form, method=method) == 2
    flow = flow_of(tmp_path / form)[:, *INNER]
    # One grey level is 0.16 pixels.
    np.testing.assert_allclose(np.median(flow, axis=(0, 1, 2)), [right, down], atol=0.25)
    assert np.abs(flow - np.array([right, down])).mean() < 0.4


@pytest.mark.parametrize("method", METHODS)
def test_a_mirrored_film_moves_the_other_way(tmp_path: Path, method: str) -> None:
    """u of the mirrored film is -u, mirrored; v is v, mirrored: what the transform does to decoded flow."""
    frames = shifted(3, 1)
    for name, film in (("film", frames), ("mirrored", frames[..., ::-1])):
        compute_flow(save_pictures(tmp_path / name, film), tmp_path / f"{name}.npy", method=method)
    expected = flip(flow_of(tmp_path / "film.npy"), Context("flow"))[:, *INNER]
    found = flow_of(tmp_path / "mirrored.npy")[:, *INNER]
    assert np.median(found[..., 0]) < -2.5
    # The algorithms are not symmetric to the last digit; the sign and the place are.
    assert np.abs(found - expected).mean() < 0.2


def test_grey_values_are_those_of_the_published_flow() -> None:
    flow = np.array([-1000, -20, -10, 0, 10, 20, 1000], dtype=np.float32)
    grey = to_grey(flow, 20.0)
    assert grey.tolist() == [0, 0, 64, 128, 191, 255, 255]
    assert np.abs((2 * grey.astype(float) / 255 - 1) * 20 - np.clip(flow, -20, 20)).max() <= 20 / 255 + 1e-6
    assert to_grey(np.array([5.0], dtype=np.float32), 5.0).tolist() == [255]


def test_pictures_have_numbers_from_one_and_are_grey(tmp_path: Path) -> None:
    film = save_pictures(tmp_path / "film", shifted(1, 0, num_frames=4))
    assert compute_flow(film, tmp_path / "flow") == 3
    names = [f"frame00000{k}.jpg" for k in (1, 2, 3)]
    for side in ("u", "v"):
        assert sorted(path.name for path in (tmp_path / "flow" / side).iterdir()) == names
    with Image.open(tmp_path / "flow" / "u" / names[0]) as picture:
        assert (picture.mode, picture.size) == ("L", (WIDTH, HEIGHT))


def test_films_and_their_frames_have_the_same_flow(tmp_path: Path) -> None:
    frames = shifted(2, 0, num_frames=5)
    video = write_video(tmp_path / "film.mp4", np.repeat(frames[..., None], 3, axis=-1))
    assert compute_flow(video, tmp_path / "flow.npy") == 4
    np.testing.assert_allclose(np.median(flow_of(tmp_path / "flow.npy", 4)[:, *INNER], (0, 1, 2)), [2, 0], atol=0.25)


def test_frames_are_those_of_the_clip_and_scaled(tmp_path: Path) -> None:
    levels = [10, 60, 110, 160, 210]
    frames = np.stack([np.full((32, 48, 3), level, dtype=np.uint8) for level in levels])
    video = write_video(tmp_path / "film.mp4", frames, fps=10)
    found = [round(float(frame.mean()), -1) for frame in grey_frames(video, Clip())]
    assert found == levels
    part = list(grey_frames(video, Clip(0.1, 0.3), 16))
    assert [round(float(frame.mean()), -1) for frame in part] == [60, 110]
    assert part[0].shape == (16, 24)
    pictures = save_pictures(tmp_path / "pictures", frames[..., 0])
    assert [frame.shape for frame in grey_frames(pictures, Clip(), 8)] == [(8, 12)] * 5
    with pytest.raises(MediaError, match="which have no times"):
        list(grey_frames(pictures, Clip(0.1)))


def test_films_without_flow_leave_nothing_behind(tmp_path: Path) -> None:
    one = save_pictures(tmp_path / "one", shifted(0, 0, num_frames=1))
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"RIFF no film")
    for form in ("flow", "flow.npy"):
        with pytest.raises(MediaError, match="fewer than two frames"):
            compute_flow(one, tmp_path / form)
        with pytest.raises(MediaError, match="cannot be decoded"):
            compute_flow(broken, tmp_path / form)
        with pytest.raises(MediaError, match="no such file"):
            compute_flow(tmp_path / "none.avi", tmp_path / form)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.avi", "one"]


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    film = save_pictures(tmp_path / "film", shifted(1, 0))
    for form in ("flow", "flow.npy"):
        compute_flow(film, tmp_path / form)
        with pytest.raises(FileExistsError, match="There is already a"):
            compute_flow(film, tmp_path / form)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "farneback"}, "method = 'farneback' is refused; use one of dis, tvl1"),
        ({"bound_px": 0.0}, "bound_px = 0.0 is refused"),
        ({"bound_px": float("nan")}, "bound_px = nan is refused"),
        ({"short_side": 0}, "short_side = 0 is refused"),
    ],
)
def test_settings_that_are_none_are_refused(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_flow(tmp_path / "film.avi", tmp_path / "flow", **settings)


def test_frames_too_small_for_flow_are_said(tmp_path: Path) -> None:
    film = save_pictures(tmp_path / "film", np.zeros((2, 3, 2), dtype=np.uint8))
    with pytest.raises(MediaError, match="frames of 3 x 2"):
        compute_flow(film, tmp_path / "flow")


def test_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as changed:
        changed.setitem(sys.modules, "cv2.optflow", None)
        assert optical_flow("dis") is not None
        with pytest.raises(ModuleNotFoundError, match="opencv-contrib-python-headless"):
            optical_flow("tvl1")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'awase\[flow\]'"):
        optical_flow("dis")
