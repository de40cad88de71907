"""Films of a few random pictures, with and without sound, made on the spot."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_film(
    path: Path,
    seconds: float = 2.3,
    *,
    seed: int = 0,
    size: tuple[int, int] = (34, 46),
    fps: int = 10,
    sound: bool = True,
) -> Path:
    """Random pictures of `size` (height, width), and noise where `sound` is asked for."""
    generator = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        film = container.add_stream("mpeg4", rate=fps, options={"qscale": "1", "g": "1"})
        film.height, film.width = size
        film.pix_fmt = "yuv420p"
        track = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for _ in range(round(seconds * fps)):
            coarse = generator.integers(0, 255, (2, 2, 3), dtype=np.uint8)
            picture = coarse.repeat(size[0] // 2, 0).repeat(size[1] // 2, 1)
            container.mux(film.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(film.encode())
        if track is not None:
            write_sound(container, track, generator.normal(scale=0.1, size=round(seconds * 8000)).astype(np.float32))
    return path


def write_sound(container: av.container.OutputContainer, track: av.AudioStream, wave: np.ndarray) -> None:
    """The waveform as a track at 8 kHz."""
    for first in range(0, len(wave), 1024):
        block = av.AudioFrame.from_ndarray(wave[None, first : first + 1024], format="fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = 8000, first, Fraction(1, 8000)
        container.mux(track.encode(block))
    container.mux(track.encode())


def tree(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, without locks."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and ".lock" not in path.name)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
