"""Films whose frames begin at chosen times."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_timed(path: Path, times_ms: list[int], height: int = 32, width: int = 48, sound_s: float = 0.0) -> Path:
    """A film whose frame k, uniformly grey at level 10 + 4 k, begins at `times_ms[k]`; with sound from 0 if asked."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "1", "g": "1", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=8000, layout="mono") if sound_s else None
        for k, time in enumerate(times_ms):
            grey = np.full((height, width, 3), 10 + 4 * k, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            samples = np.random.default_rng(5).normal(scale=0.1, size=(1, round(sound_s * 8000))).astype(np.float32)
            for first in range(0, samples.shape[1], 1024):
                block = av.AudioFrame.from_ndarray(samples[:, first : first + 1024], format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = 8000, first, Fraction(1, 8000)
                container.mux(sound.encode(block))
            container.mux(sound.encode())
    return path


def begins_s(path: Path) -> list[float]:
    """When each frame begins."""
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def by_ffmpeg(path: Path, rate: str) -> list[float]:
    """The mean grey of every frame that FFmpeg's filter `fps` lets through."""
    means = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        source, fps, sink = graph.add_buffer(template=stream), graph.add("fps", f"fps={rate}"), graph.add("buffersink")
        source.link_to(fps)
        fps.link_to(sink)
        graph.configure()
        for frame in [*container.decode(stream), None]:
            graph.push(frame)
            while True:
                try:
                    means.append(mean_grey(graph.pull()))
                except (av.BlockingIOError, av.EOFError):
                    break
    return means


def mean_grey(frame: av.VideoFrame) -> float:
    """Of a decoded frame."""
    return float(frame.to_ndarray(format="gray").mean())
