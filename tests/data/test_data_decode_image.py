"""Pictures, optical flow and arrays, and the files that are none."""

import ast
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from awase.config import ArrayInput, FlowInput, ImageInput, TextInput
from awase.data.decode import Cell, decode
from awase.data.decode_flow import decode_flow
from awase.data.decode_image import decode_image
from awase.data.decode_npy import load_npy
from awase.data.media import Clip
from awase.data.source import MediaError


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def test_a_picture_of_the_right_size_is_kept(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (7, 11, 3), dtype=np.uint8)
    path = save(tmp_path / "p.png", array)
    assert np.array_equal(decode_image(path, ImageInput(column="c", height=7, width=11)), array)
    grey = decode_image(path, ImageInput(column="c", height=7, width=11, channels=1))
    assert np.array_equal(grey[..., 0], np.asarray(Image.fromarray(array).convert("L")))


def test_the_centre_is_cut_out(tmp_path: Path) -> None:
    array = np.zeros((10, 30, 3), dtype=np.uint8)
    array[:, 10:20] = 255
    picture = decode_image(save(tmp_path / "p.png", array), ImageInput(column="c", height=5, width=5))
    assert (picture[:, 1:-1] == 255).all()


def test_transparency_is_black_and_deep_grey_is_scaled(tmp_path: Path) -> None:
    clear = np.full((4, 4, 4), 200, dtype=np.uint8)
    clear[..., 3] = 0
    assert not decode_image(save(tmp_path / "t.png", clear), ImageInput(column="c", height=4, width=4)).any()
    deep = np.full((4, 4), 65_535, dtype=np.uint16)
    picture = decode_image(save(tmp_path / "d.png", deep), ImageInput(column="c", height=4, width=4, channels=1))
    assert (picture == 255).all()


def test_a_picture_lying_on_its_side_is_set_upright(tmp_path: Path) -> None:
    array = np.zeros((4, 8, 3), dtype=np.uint8)
    array[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "p.png", array, exif=exif.tobytes())
    upright = decode_image(path, ImageInput(column="c", height=8, width=4))
    assert (upright[:4] == 255).all()
    assert not upright[4:].any()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_truncated_pictures_are_refused(tmp_path: Path, share: float) -> None:
    array = np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    content = save(tmp_path / "p.jpg", array).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: int(share * len(content))])
    for name, message in (("cut.jpg", "not a complete picture"), ("none.jpg", "no such file")):
        with pytest.raises(MediaError, match=message):
            decode_image(tmp_path / name, ImageInput(column="c"))


@pytest.mark.parametrize(
    "names", [("u/{}.png", "v/{}.png"), ("flow_x_{}.png", "flow_y_{}.png"), ("u_{}.png", "v_{}.png")]
)
def test_flow_pictures_become_signed_numbers(tmp_path: Path, names: tuple[str, str]) -> None:
    for k in range(6):
        for name, offset in zip(names, (0, 100), strict=True):
            save(tmp_path / name.format(k), np.full((4, 6), 20 * k + offset, dtype=np.uint8))
    flow = decode_flow(tmp_path, FlowInput(column="f", num_frames=3, height=4, width=6))
    assert flow.shape == (3, 4, 6, 2)
    expected = np.array([[20, 120], [60, 160], [100, 200]]) / 127.5 - 1
    np.testing.assert_allclose(flow, np.broadcast_to(expected[:, None, None], flow.shape), atol=1e-6)


def test_flow_arrays_are_read(tmp_path: Path) -> None:
    array = np.random.default_rng(0).uniform(-1, 1, (5, 3, 4, 2)).astype(np.float32)
    np.save(tmp_path / "f.npy", array)
    setting = FlowInput(column="f", num_frames=5, height=3, width=4)
    assert np.array_equal(decode_flow(tmp_path / "f.npy", setting), array)
    np.save(tmp_path / "g.npy", np.full((5, 3, 4, 2), 255, dtype=np.uint8))
    assert (decode_flow(tmp_path / "g.npy", setting) == 1).all()


def test_flow_that_is_none_is_refused(tmp_path: Path) -> None:
    setting = FlowInput(column="f")
    np.save(tmp_path / "f.npy", np.zeros((5, 3, 2)))
    with pytest.raises(MediaError, match=r"shape \[5, 3, 2\] where \[frames, height, width, 2\]"):
        decode_flow(tmp_path / "f.npy", setting)
    save(tmp_path / "half" / "u" / "0.png", np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(MediaError, match=r"1 horizontal and 0 vertical"):
        decode_flow(tmp_path / "half", setting)


def cell(value: object, folder: Path) -> Cell:
    return Cell(value, folder, Clip())


@pytest.mark.parametrize("value", ["[[1, 2.5], [3, 4]]", [[1, 2.5], [3, 4]], "a.npy"])
def test_arrays_come_from_cells_and_files(tmp_path: Path, value: object) -> None:
    np.save(tmp_path / "a.npy", np.array([[1, 2.5], [3, 4]]))
    array = decode(ArrayInput(column="a", shape=(2, 2)), cell(value, tmp_path))
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.float32
    assert array.tolist() == [[1, 2.5], [3, 4]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[1, 2, 3]", r"shape \[3\] where \[2\]"),
        ("[1, NaN]", "not finite"),
        ("[1, 2", "not a list of numbers"),
        (["a", "b"], "not a list of numbers"),
        ("pickled.npy", "not an .npy file of numbers"),
        ("none.npy", "no such file"),
        (None, "empty cell"),
    ],
)
def test_arrays_that_are_none_are_refused(tmp_path: Path, value: object, message: str) -> None:
    np.save(tmp_path / "pickled.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(MediaError, match=message):
        decode(ArrayInput(column="a", shape=(2,)), cell(value, tmp_path))


def test_the_heads_of_arrays_are_read_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / f"{number}.npy" for number in range(8)]
    for number, file in enumerate(files):
        np.save(file, np.full((number, 2), number))
    inside, together, parse = [], [], ast.literal_eval

    def watched(head: str) -> object:
        inside.append(head)
        time.sleep(0.002)
        together.append(len(inside))
        inside.pop()
        return parse(head)

    monkeypatch.setattr(ast, "literal_eval", watched)
    with ThreadPoolExecutor(4) as threads:
        arrays = list(threads.map(load_npy, files))
    assert together == [1] * len(files)
    for number, array in enumerate(arrays):
        assert np.array_equal(array, np.full((number, 2), number))


def test_text_of_any_script_is_kept(tmp_path: Path) -> None:
    assert decode(TextInput(column="t"), cell("合わせ שלום 🎬", tmp_path)) == "合わせ שלום 🎬"
    (tmp_path / "n.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(MediaError, match=r"not an .npy file"):
        load_npy(tmp_path / "n.npy")
