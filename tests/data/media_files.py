"""Small media files made on the spot."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def grey_frames(levels: list[int], height: int = 32, width: int = 48) -> np.ndarray:
    """One uniform frame per level, (frames, height, width, 3)."""
    return np.stack([np.full((height, width, 3), level, dtype=np.uint8) for level in levels])


def tone(hertz: float, seconds: float, rate: int, amplitude: float = 0.5) -> np.ndarray:
    """A sine."""
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_video(
    path: Path,
    frames: np.ndarray,
    fps: int = 10,
    audio: np.ndarray | None = None,
    rate: int = 8000,
    codec: str = "mpeg4",
) -> Path:
    """An mp4 of the frames (every one a key frame), with a mono AAC track where `audio` is given.

    With the codec `flv1` and a path that ends in `.flv`: Flash video.
    """
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        video = container.add_stream(codec, rate=fps, options={"qscale": "1", "g": "1"})
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        sound = None if audio is None else container.add_stream("aac", rate=rate, layout="mono")
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
        if sound is not None and audio is not None:
            for first in range(0, len(audio), 1024):
                block = av.AudioFrame.from_ndarray(audio[None, first : first + 1024], format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = rate, first, Fraction(1, rate)
                container.mux(sound.encode(block))
            container.mux(sound.encode())
    return path


def write_manifest(path: Path, rows: list[dict[str, object]]) -> Path:
    """A CSV of the rows."""
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
