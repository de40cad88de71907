"""From the published layouts of HowTo100M to a store."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from awase.data.features.captions import Captions, CaptionSource, caption_source
from awase.data.features.layouts import Listed, audio_files, feature_files, read_numbers, read_video_list
from awase.data.features.shard_writer import AUDIO_BINS, ShardWriter, VideoContent
from awase.data.source import MediaError
from awase.files import write_text

logger = logging.getLogger(__name__)
RATES = {"video_2d": "1", "video_3d": "3/2"}
"""Rows per second of the published features."""
FRAMES_PER_S = 100
_EVERY = 64
_KEYS = {"video_2d": "features", "video_3d": "features"}
Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Published:
    """Where the published files are; see `import_howto100m`."""

    videos: Path
    features: Path
    captions: Path
    audio: Path | None = None


def import_howto100m(
    published: Published,
    out: Path,
    *,
    shard: tuple[int, int] = (0, 1),
    allow_pickle: bool = False,
    problems: Literal["exclude", "error"] = "exclude",
    tolerance_s: float = 10.0,
    progress: Told | None = None,
) -> dict[str, Any]:
    """Writes share `shard` (i of n, from 0) of the listed videos as a shard of the store `out`; returns its report.

    The same call continues where it was killed. A video is left out where a file of it is broken or holds values that
    are not finite, its streams' durations differ by more than `tolerance_s` seconds, or it has no captions or no
    features; with `problems="error"` the first such video raises `ValueError`. A video without one of its streams is
    kept, and that stream is absent. The report counts and lists all of this, and the captions that were dropped, put
    in order, or overlap. Raises `FileExistsError` where the shard is finished, `FileNotFoundError`, `ValueError`.
    """
    number, count = shard
    if not 0 <= number < count:
        raise ValueError(f"The share is {number} of {count}; shares count from 0, for example 0/4 to 3/4.")
    for folder in (published.features, *([published.audio] if published.audio is not None else [])):
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder}; name the folder of the features.")
    listed = read_video_list(published.videos)[number::count]
    settings = {"share": [number, count], "tolerance_s": tolerance_s, "videos": [video.id for video in listed]}
    writer = ShardWriter(out / f"shard-{number:04d}-of-{count:04d}", RATES, settings)
    try:
        captions = caption_source(published.captions, allow_pickle)
        for video in listed[writer.done :]:
            try:
                content = _read(video, published, captions, tolerance_s)
            except MediaError as error:
                if problems == "error":
                    raise ValueError(f"The video {video.id} cannot be used: {error.reason}.") from error
                _note(writer.report, "excluded", {"id": video.id, "reason": error.reason})
                writer.skip()
            else:
                _count(writer.report, content)
                writer.add(content)
            if writer.done % _EVERY == 0:
                writer.commit()
            if progress is not None:
                progress(writer.done, len(listed))
        report = {"listed": len(listed), "kept": writer.state.videos, **writer.report}
        writer.report.update(report)
        folder = writer.finish()
    except BaseException:
        writer.close()
        raise
    write_text(folder / "report.json", _json(report))
    return report


def _json(document: dict[str, Any]) -> str:
    import json

    return json.dumps(document, indent=1)


def _note(report: dict[str, Any], kind: str, entry: Any) -> None:
    report.setdefault(kind, []).append(entry)


def _count(report: dict[str, Any], content: VideoContent) -> None:
    """What was found in a video that is kept."""
    counts = report.setdefault("captions", {"kept": 0, "overlapping": 0, "moved": 0, "dropped": 0})
    captions = content.captions
    counts["kept"] += len(captions.texts)
    for name in ("overlapping", "moved", "dropped"):
        counts[name] += getattr(captions, name)
    if captions.moved:
        _note(report, "captions_out_of_order", content.id)
    for name in RATES:
        if name not in content.streams:
            _note(report, f"without_{name}", content.id)
    if content.audio is None:
        _note(report, "without_audio", content.id)


def _read(video: Listed, published: Published, source: CaptionSource, tolerance_s: float) -> VideoContent:
    """The content of a video; raises `MediaError` that says why it cannot be used."""
    streams: dict[str, np.ndarray] = {}
    for name in RATES:
        found = read_numbers(feature_files(published.features, video, name[-2:]), _KEYS[name])
        if found is not None:
            streams[name] = found
    audio = None
    if published.audio is not None:
        audio = read_numbers(audio_files(published.audio, video), "arr_0")
    if not streams and audio is None:
        raise MediaError("no file of its features is there")
    if audio is not None and len(audio) != AUDIO_BINS:
        raise MediaError(f"its audio has the shape {list(audio.shape)}; ({AUDIO_BINS}, frames) is needed")
    _check_durations(streams, audio, tolerance_s)
    return VideoContent(video.id, streams, audio, _captions(video, source))


def _check_durations(streams: dict[str, np.ndarray], audio: np.ndarray | None, tolerance_s: float) -> None:
    durations = {name: float(len(values) / Fraction(RATES[name])) for name, values in streams.items()}
    if audio is not None:
        durations["audio"] = audio.shape[1] / FRAMES_PER_S
    if max(durations.values()) - min(durations.values()) > tolerance_s:
        said = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in durations.items())
        raise MediaError(f"its streams differ in length by more than {tolerance_s:g} s ({said})")


def _captions(video: Listed, source: CaptionSource) -> Captions:
    try:
        captions = source(video.id)
    except ValueError as error:
        raise MediaError(str(error)) from error
    if captions is None:
        raise MediaError("it has no captions")
    if not captions.texts:
        raise MediaError(f"none of its {captions.dropped} captions has usable times")
    return captions
