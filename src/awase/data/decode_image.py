"""Pictures, and optical flow as pictures or as an array."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from awase.config import FlowInput, ImageInput
from awase.data.decode_npy import load_npy
from awase.data.source import MediaError

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}


def decode_image(path: Path, setting: ImageInput) -> UInt8[np.ndarray, "height width channels"]:
    """The picture, upright, scaled to cover `height` x `width` and cut to its centre, in colour or grey.

    Transparent parts are black. Raises `MediaError` for files that are missing, truncated or no pictures.
    """
    image = _open(path)
    fitted = ImageOps.fit(_flatten(image), (setting.width, setting.height), Image.Resampling.BILINEAR)
    array = np.asarray(fitted.convert("L" if setting.channels == 1 else "RGB"), dtype=np.uint8)
    return array.reshape(setting.height, setting.width, setting.channels)


def _open(path: Path) -> Image.Image:
    if not path.is_file():
        raise MediaError("no such file")
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MediaError("is not a complete picture") from error


def _flatten(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow would clip it at 255.
        return Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().astype(np.uint8))
    return image if image.mode == "L" else image.convert("RGB")


def decode_flow(path: Path, setting: FlowInput) -> Float32[np.ndarray, "frames height width 2"]:
    """Horizontal and vertical flow in [-1, 1] at the middles of `num_frames` equal parts.

    A folder holds pictures in `u/` and `v/` (or `x/` and `y/`), or `flow_x_*` and `flow_y_*` (also `u_*`, `x_*`), whose
    grey value g means 2 g / 255 - 1. An .npy file is (frames, height, width, 2), uint8 with the same meaning or
    floating-point. Values are not scaled when the pictures are. Raises `MediaError` for anything else.
    """
    if path.is_dir():
        return _flow_of_pictures(path, setting)
    array = load_npy(path)
    if array.ndim != 4 or array.shape[-1] != 2 or len(array) == 0:
        raise MediaError(f"has the shape {list(array.shape)} where [frames, height, width, 2] is expected")
    chosen = array[_positions(len(array), setting.num_frames)].astype(np.float32)
    if not np.isfinite(chosen).all():
        raise MediaError("holds values that are not finite")
    values = chosen / 127.5 - 1 if array.dtype == np.uint8 else chosen
    parts = [_fit(Image.fromarray(frame[..., part]), setting) for frame in values for part in (0, 1)]
    return np.stack(parts).reshape(setting.num_frames, 2, setting.height, setting.width).transpose(0, 2, 3, 1).copy()


def _flow_of_pictures(folder: Path, setting: FlowInput) -> np.ndarray:
    horizontal, vertical = _pictures(folder, "u", "x"), _pictures(folder, "v", "y")
    if not horizontal or len(horizontal) != len(vertical):
        raise MediaError(f"has {len(horizontal)} horizontal and {len(vertical)} vertical flow pictures")
    positions = _positions(len(horizontal), setting.num_frames)
    parts = [
        np.stack([_fit(_open(files[i]).convert("L").convert("F"), setting) for i in positions]) / 127.5 - 1
        for files in (horizontal, vertical)
    ]
    return np.stack(parts, axis=-1).astype(np.float32)


def _pictures(folder: Path, *names: str) -> list[Path]:
    for name in names:
        inside = sorted(p for p in (folder / name).glob("*") if p.suffix.lower() in PICTURES)
        beside = sorted(
            p for p in folder.glob("*") if re.match(rf"(flow_)?{name}_", p.name) and p.suffix.lower() in PICTURES
        )
        if inside or beside:
            return inside or beside
    return []


def _positions(length: int, num_frames: int) -> list[int]:
    return [int((k + 0.5) * length / num_frames) for k in range(num_frames)]


def _fit(image: Image.Image, setting: FlowInput) -> np.ndarray:
    return np.asarray(ImageOps.fit(image, (setting.width, setting.height), Image.Resampling.BILINEAR), dtype=np.float32)
