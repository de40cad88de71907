"""Optical flow from pictures or from an array."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageOps

from awase.config import FlowInput
from awase.data.decode_image import open_picture
from awase.data.decode_npy import load_npy
from awase.data.picture_folders import component_folders, flow_pictures
from awase.data.source import MediaError


def decode_flow(path: Path, setting: FlowInput) -> Float32[np.ndarray, "frames height width 2"]:
    """Horizontal and vertical flow in [-1, 1] at the middles of `num_frames` equal parts.

    A folder holds pictures in `u/` and `v/` (or `x/` and `y/`), or `flow_x_*` and `flow_y_*` (also `u_*`, `x_*`), in
    the order of the numbers in their names; where u and v are in two folders, the path names both, as in
    `tvl1_flow/{u,v}/v_X`. Grey value g means 2 g / 255 - 1. An .npy file is (frames, height, width, 2), uint8 with the
    same meaning or floating-point. Values are not scaled when the pictures are. Raises `MediaError` for anything else.
    """
    if component_folders(path) is not None or path.is_dir():
        return _of_pictures(path, setting)
    array = load_npy(path)
    if array.ndim != 4 or array.shape[-1] != 2 or len(array) == 0:
        raise MediaError(f"has the shape {list(array.shape)} where [frames, height, width, 2] is expected")
    chosen = array[middles(len(array), setting.num_frames)].astype(np.float32)
    if not np.isfinite(chosen).all():
        raise MediaError("holds values that are not finite")
    values = chosen / 127.5 - 1 if array.dtype == np.uint8 else chosen
    parts = [_fit(Image.fromarray(frame[..., part]), setting) for frame in values for part in (0, 1)]
    return np.stack(parts).reshape(setting.num_frames, 2, setting.height, setting.width).transpose(0, 2, 3, 1).copy()


def middles(length: int, num_frames: int) -> list[int]:
    """Which of `length` frames are at the middles of `num_frames` equal parts; some twice where there are fewer."""
    return [int((k + 0.5) * length / num_frames) for k in range(num_frames)]


def _of_pictures(path: Path, setting: FlowInput) -> np.ndarray:
    components = flow_pictures(path)
    positions = middles(len(components[0]), setting.num_frames)
    parts = [
        np.stack([_fit(open_picture(files[i]).convert("L").convert("F"), setting) for i in positions]) / 127.5 - 1
        for files in components
    ]
    return np.stack(parts, axis=-1).astype(np.float32)


def _fit(image: Image.Image, setting: FlowInput) -> np.ndarray:
    return np.asarray(ImageOps.fit(image, (setting.width, setting.height), Image.Resampling.BILINEAR), dtype=np.float32)
