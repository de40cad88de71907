"""Pictures."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from awase.config import ImageInput
from awase.data.source import MediaError


def decode_image(path: Path, setting: ImageInput) -> UInt8[np.ndarray, "height width channels"]:
    """The picture, upright, scaled to cover `height` x `width` and cut to its centre, in colour or grey.

    Transparent parts are black. Raises `MediaError` for files that are missing, truncated or no pictures.
    """
    return read_picture(path, setting.height, setting.width, setting.channels)


def read_picture(path: Path, height: int, width: int, channels: int) -> UInt8[np.ndarray, "height width channels"]:
    """The picture as `decode_image` gives it, with 1 (grey) or 3 channels."""
    fitted = ImageOps.fit(_flatten(open_picture(path)), (width, height), Image.Resampling.BILINEAR)
    array = np.asarray(fitted.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return array.reshape(height, width, channels)


def open_picture(path: Path) -> Image.Image:
    """The decoded picture, upright; raises `MediaError` as `decode_image` does."""
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
