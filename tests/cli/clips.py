"""Small tables of real clips: a moving picture with a sound each, made on the spot."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE_HZ = 8000
SECONDS = 0.4
LABELS = ("low", "high")


def tone(hertz: float, seconds: float) -> np.ndarray:
    """A sine at `RATE_HZ`."""
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ).astype(np.float32)


def write_clip(path: Path, label: str, number: int = 0, sound: bool = True, seconds: float = SECONDS) -> Path:
    """An mp4 whose brightness and pitch tell its label; `number` changes both a little. Without `sound`, no track."""
    level, hertz = (60 + number, 300.0 + number) if label == LABELS[0] else (200 + number, 1500.0 + number)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream("mpeg4", rate=10, options={"qscale": "1", "g": "1"})
        video.width, video.height, video.pix_fmt = 32, 24, "yuv420p"
        audio = container.add_stream("aac", rate=RATE_HZ, layout="mono") if sound else None
        for frame_number in range(round(seconds * 10)):
            frame = np.full((24, 32, 3), level + frame_number, dtype=np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
        if audio is not None:
            wave = tone(hertz, seconds)
            for first in range(0, len(wave), 1024):
                block = av.AudioFrame.from_ndarray(wave[None, first : first + 1024], format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = RATE_HZ, first, Fraction(1, RATE_HZ)
                container.mux(audio.encode(block))
            container.mux(audio.encode())
    return path


def clip_rows(splits: Sequence[str] = ("train",) * 12 + ("val",) * 4 + ("test",) * 5) -> list[dict[str, str]]:
    """A row per clip: id, clip, label, split; labels alternate."""
    return [
        {"id": f"clip{n}", "clip": f"clip{n}.mp4", "label": LABELS[n % 2], "split": split}
        for n, split in enumerate(splits)
    ]


def write_csv(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """The rows as a CSV."""
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_clips(folder: Path) -> Path:
    """`clips.csv` of 12 training, 4 validation and 5 test clips, and the clips."""
    rows = clip_rows()
    for number, row in enumerate(rows):
        write_clip(folder / row["clip"], row["label"], number)
    return write_csv(folder / "clips.csv", rows)


def clip_arguments(table: Path, folder: Path, *more: object, methods: Sequence[str] = ("joint",)) -> list[object]:
    """`awase run` on a table of clips, small and quick, results and cache in `folder`."""
    small = {"unimodal.epochs": 1, "joint.epochs": 1, "data.inputs.video.num_frames": 2}
    small |= {"data.inputs.video.height": 16, "data.inputs.video.width": 24, "data.inputs.audio.sample_rate_hz": 8000}
    return [
        *("run", table, "--quiet", "--seed", 0, "--device", "cpu", "--threads", 1),
        *("--out", folder / "out", "--cache", folder / "cache"),
        *(part for method in methods for part in ("--method", method)),
        *(part for path, value in small.items() for part in ("--set", f"{path}={value}")),
        *more,
    ]
