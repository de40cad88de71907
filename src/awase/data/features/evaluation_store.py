"""Evaluation sets of ready clips: one pooled vector per stream, a spectrogram, and one or several captions each."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from awase.data.features.shard_writer import AUDIO_BINS
from awase.files import whole_folder

FORMAT_VERSION = 1
DESCRIPTION, _CLIPS = "evaluation.json", "clips.json"
STREAMS = ("video_2d", "video_3d")


@dataclass(frozen=True, eq=False)
class EvaluationClip:
    """One clip: per stream its features, pooled (dim,) or per step (steps, dim), the maximum of which is kept.

    `audio` is (40, frames) in dB, `None` where the clip has none; a stream it does not have is absent from `streams`.
    `video` is the video it was cut from. Captions are one or more.
    """

    id: str
    video: str
    captions: tuple[str, ...]
    streams: Mapping[str, np.ndarray] = field(default_factory=dict)
    audio: np.ndarray | None = None


def caption_ceilings(captions: list[str], clips: list[int] | None = None) -> dict[str, Any]:
    """What identical captions leave possible; `clips` has the clip of each, None: each has its own.

    A caption finds one clip first, so that of the rows that share it those of one clip are found (`text_to_clip`, R@1
    in percent of the captions). From a clip, a caption that another clip has too is tied, and a tie counts against it:
    a clip needs one of its own (`clip_to_text`, in percent of the clips).
    """
    clips = list(range(len(captions))) if clips is None else clips
    counts = Counter(captions)
    pairs = Counter(zip(captions, clips, strict=True))
    found: dict[str, int] = {}
    for (caption, _), count in pairs.items():
        found[caption] = max(found.get(caption, 0), count)
    owners = Counter(caption for caption, _ in pairs)
    told = {clip for caption, clip in pairs if owners[caption] == 1}
    sharing = sum(count for count in counts.values() if count > 1)
    rows = max(1, len(captions))
    return {
        "distinct_captions": len(counts),
        "duplicates_of_another": len(captions) - len(counts),
        "rows_sharing_a_caption": sharing,
        "ceiling_text_to_clip": 100 * sum(found.values()) / rows,
        "ceiling_clip_to_text": 100 * len(told) / max(1, len(set(clips))),
    }


def write_evaluation_store(
    folder: Path,
    name: str,
    clips: Iterable[EvaluationClip],
    *,
    audio_frames: int,
    notes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes the clips to a new folder, whole or not at all; returns its description, fit for JSON.

    Audio is cut to `audio_frames`. Raises `ValueError` for an id that occurs twice, a clip without a caption, features
    that are not finite or of another width, and `FileExistsError` where the folder is there.
    """
    clips = list(clips)
    _check_ids(name, [clip.id for clip in clips])
    pooled = {stream: _pooled(stream, clips) for stream in STREAMS}
    heard = [_audio(clip, audio_frames) for clip in clips]
    rows = [{"id": clip.id, "video": clip.video, "captions": list(clip.captions)} for clip in clips]
    description = {
        "version": FORMAT_VERSION,
        "name": name,
        "clips": len(clips),
        "videos": len({clip.video for clip in clips}),
        "captions": sum(len(clip.captions) for clip in clips),
        "with": {stream: 0 if made is None else int(made[1].sum()) for stream, made in pooled.items()}
        | {"audio": sum(audio is not None for audio in heard)},
        "audio_frames": audio_frames,
        **caption_ceilings([clip.captions[0] for clip in clips]),
        **dict(notes or {}),
    }
    digest = hashlib.sha256(json.dumps([rows, audio_frames]).encode())
    with whole_folder(folder) as part:
        for stream, made in pooled.items():
            if made is not None:
                _save(part / stream, made[0], digest)
                _save(part / f"{stream}_present", made[1], digest)
        frames = [np.zeros((0, AUDIO_BINS), np.float16) if audio is None else audio for audio in heard]
        _save(part / "audio", np.concatenate(frames), digest)
        _save(part / "audio_offsets", np.cumsum([0, *map(len, frames)]).astype(np.int64), digest)
        floors = np.array([0.0 if len(audio) == 0 else audio.min() for audio in frames], dtype=np.float16)
        _save(part / "audio_floor", floors, digest)
        (part / _CLIPS).write_text(json.dumps(rows), encoding="utf-8")
        description["fingerprint"] = digest.hexdigest()
        (part / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
    return description


def _save(path: Path, values: np.ndarray, digest: Any) -> None:
    digest.update(np.ascontiguousarray(values).tobytes())
    np.save(path.with_suffix(".npy"), values)


def _check_ids(name: str, ids: list[str]) -> None:
    if not ids:
        raise ValueError(f"The evaluation set {name!r} has no clips.")
    doubled = [clip for clip, count in Counter(ids).items() if count > 1]
    if doubled:
        raise ValueError(
            f"The evaluation set {name!r} has {len(doubled)} ids more than once, first {doubled[0]!r}; a clip is "
            "found by its id, so each must be there once."
        )


def _pooled(stream: str, clips: list[EvaluationClip]) -> tuple[np.ndarray, np.ndarray] | None:
    """(clips, dim) float32 and which are present; `None` where no clip has the stream."""
    vectors = [None if stream not in clip.streams else _vector(stream, clip) for clip in clips]
    dims = {len(vector) for vector in vectors if vector is not None}
    if not dims:
        return None
    if len(dims) > 1:
        raise ValueError(f"The {stream} features are {sorted(dims)} wide; one width is needed.")
    absent = np.zeros(dims.pop(), dtype=np.float32)
    present = np.array([vector is not None for vector in vectors])
    return np.stack([absent if vector is None else vector for vector in vectors]), present


def _vector(stream: str, clip: EvaluationClip) -> np.ndarray:
    values = np.asarray(clip.streams[stream], dtype=np.float32)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(f"The {stream} features of {clip.id} have the shape {list(values.shape)}; give (dim,).")
    vector: np.ndarray = values if values.ndim == 1 else values.max(axis=0)
    if not np.isfinite(vector).all():
        raise ValueError(f"The {stream} features of {clip.id} are not finite; mend them, or leave the stream out.")
    return vector


def _audio(clip: EvaluationClip, frames: int) -> np.ndarray | None:
    """(frames, 40) float16."""
    if not clip.captions:
        raise ValueError(f"The clip {clip.id} has no caption.")
    if clip.audio is None or clip.audio.size == 0:
        return None
    audio = np.asarray(clip.audio)
    if audio.ndim != 2 or len(audio) != AUDIO_BINS or not np.isfinite(audio).all():
        raise ValueError(
            f"The audio of {clip.id} has the shape {list(audio.shape)}; finite ({AUDIO_BINS}, frames) is needed."
        )
    return np.ascontiguousarray(audio[:, :frames].T, dtype=np.float16)


class EvaluationStore:
    """An opened evaluation set, memory-mapped. Raises `FileNotFoundError`, `ValueError` for one that is of no use."""

    def __init__(self, folder: Path) -> None:
        if not (folder / DESCRIPTION).is_file():
            raise FileNotFoundError(
                f"{folder} is no evaluation set; make one with `awase convert youcook2` or `awase convert msrvtt`."
            )
        self.description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if self.description.get("version") != FORMAT_VERSION:
            raise ValueError(f"{folder} is of version {self.description.get('version')}; convert it anew.")
        rows = json.loads((folder / _CLIPS).read_text(encoding="utf-8"))
        self.ids = tuple(row["id"] for row in rows)
        self.videos = tuple(row["video"] for row in rows)
        self.captions = tuple(tuple(row["captions"]) for row in rows)
        self.streams = {
            stream: (_mapped(folder / f"{stream}.npy"), np.load(folder / f"{stream}_present.npy"))
            for stream in STREAMS
            if (folder / f"{stream}.npy").is_file()
        }
        self.audio = _mapped(folder / "audio.npy")
        self.audio_offsets = np.load(folder / "audio_offsets.npy")
        self.audio_floor = np.load(folder / "audio_floor.npy")

    @property
    def audio_frames(self) -> int:
        return int(self.description["audio_frames"])

    @property
    def fingerprint(self) -> str:
        return str(self.description["fingerprint"])


def _mapped(path: Path) -> np.ndarray:
    values = np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None, allow_pickle=False)
    return np.asarray(values)
