"""Optical flow computed from a film, for data that comes without."""

from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from awase.data.grey_frames import grey_frames
from awase.data.media import Clip
from awase.data.source import MediaError
from awase.files import whole_file, whole_folder

METHODS = ("dis", "tvl1")
Grey = UInt8[np.ndarray, "height width"]
Flow = Float32[np.ndarray, "height width 2"]
_JPEG_QUALITY = 95


def compute_flow(
    video: Path,
    out: Path,
    *,
    method: str = "dis",
    bound_px: float = 20.0,
    short_side: int | None = None,
    clip: Clip | None = None,
) -> int:
    """The number of flow frames written: one fewer than the film (a video file, or a folder of pictures) has frames.

    Flow from each frame to the next, in pixels to the right and down, is cut at +-`bound_px` and becomes a grey value
    (`to_grey`). `out` ending in `.npy` is one array uint8 (frames, height, width, 2); any other `out` is a folder with
    pictures in `u/` and `v/`; `decode_flow` reads both. `method` is `dis` (Kroeger et al., ECCV 2016; fast) or `tvl1`
    (Zach et al., DAGM 2007; what two-stream networks were trained on; slow). With `short_side` frames are scaled first,
    and pixels are those of the scaled frames. `clip` is the part of a video file that is meant.

    Raises `MediaError` for a film that cannot be decoded or has fewer than two frames, `FileExistsError` where `out` is
    there, `ValueError` for other settings, `ModuleNotFoundError` without OpenCV.
    """
    check_settings(method, bound_px, short_side)
    if out.exists():
        raise FileExistsError(f"There is already a {out}; remove it, or choose another name.")
    flows = _flows(grey_frames(video, Clip() if clip is None else clip, short_side), optical_flow(method))
    greys = (to_grey(flow, bound_px) for flow in flows)
    return _write_array(out, greys) if out.suffix == ".npy" else _write_pictures(out, greys)


def check_settings(method: str, bound_px: float, short_side: int | None) -> None:
    """Raises `ValueError` for settings that `compute_flow` does not have."""
    if method not in METHODS:
        raise ValueError(f"method = {method!r} is refused; use one of {', '.join(METHODS)}.")
    if not 0 < bound_px < float("inf"):
        raise ValueError(f"bound_px = {bound_px!r} is refused; it is a number of pixels above 0, usually 20.")
    if short_side is not None and short_side < 1:
        raise ValueError(f"short_side = {short_side!r} is refused; it is a number of pixels, 1 or more.")


def to_grey(flow: Float32[np.ndarray, "*shape"], bound_px: float) -> UInt8[np.ndarray, "*shape"]:
    """127.5 (1 + flow / bound), rounded: 0 is -`bound_px` or less, 128 is no motion, 255 is `bound_px` or more."""
    return np.rint((np.clip(flow / bound_px, -1, 1) + 1) * 127.5).astype(np.uint8)


def optical_flow(method: str) -> Callable[[Grey, Grey], Flow]:
    """A function of two frames; raises `ModuleNotFoundError` that says what to install.

    It belongs to one thread: OpenCV's algorithms keep buffers.
    """
    cv2 = _library("cv2", "Computing optical flow needs OpenCV, which is not installed: pip install 'awase[flow]'.")
    if method == "dis":
        algorithm = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    else:
        contrib = _library(
            "cv2.optflow",
            "TV-L1 is not in this build of OpenCV: put opencv-contrib-python-headless in its place, or use dis.",
        )
        algorithm = contrib.DualTVL1OpticalFlow_create()

    def flow_between(first: Grey, second: Grey) -> Flow:
        try:
            return np.asarray(algorithm.calc(first, second, None), dtype=np.float32)
        except cv2.error as error:
            height, width = first.shape
            raise MediaError(f"has frames of {height} x {width}, of which OpenCV computes no flow") from error

    return flow_between


def _library(name: str, lacking: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ModuleNotFoundError(lacking, name=name) from error


def _flows(frames: Iterator[Grey], flow_between: Callable[[Grey, Grey], Flow]) -> Iterator[Flow]:
    count = 0
    for first, second in pairwise(frames):
        count += 1
        yield flow_between(first, second)
    if count == 0:
        raise MediaError("has fewer than two frames, so no flow")


def _write_array(out: Path, greys: Iterator[np.ndarray]) -> int:
    array = np.stack(list(greys))
    with whole_file(out) as temporary, temporary.open("wb") as file:
        np.save(file, array)
    return len(array)


def _write_pictures(out: Path, greys: Iterator[np.ndarray]) -> int:
    count = 0
    with whole_folder(out) as folder:
        for side in ("u", "v"):
            (folder / side).mkdir()
        for count, grey in enumerate(greys, start=1):
            for component, side in enumerate(("u", "v")):
                picture = Image.fromarray(np.ascontiguousarray(grey[..., component]))
                picture.save(folder / side / f"frame{count:06d}.jpg", quality=_JPEG_QUALITY)
    return count
