"""Evaluation sets of clips with captions in the forms in which they are published, and the features beside them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from awase.data.features.evaluation_store import EvaluationClip
from awase.data.features.layouts import Listed, audio_files, feature_files, read_numbers
from awase.data.features.pickles import read_pickle
from awase.data.features.sampling import audio_frame
from awase.data.source import MediaError

RATES = {"video_2d": 1.0, "video_3d": 1.5}
PICKLES = (".pkl", ".pickle")
STORE_FORM = ("clips.json", "features.npz")


@dataclass(frozen=True)
class ListedClip:
    """A clip of an annotation file: [start_s, end_s] of a video, or a whole file."""

    id: str
    video: str
    captions: tuple[str, ...]
    start_s: float | None = None
    end_s: float | None = None


@dataclass
class Found:
    """Clips, and what a reader has to say of them."""

    clips: list[EvaluationClip]
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureFiles:
    """Where the features of listed clips are: folders in the layouts of HowTo100M by id, or a `.pth` for video."""

    features: Path | None = None
    audio: Path | None = None


NO_FILES = FeatureFiles()


def numbered(clips: Sequence[ListedClip]) -> list[ListedClip]:
    """The clips with different ids: the second of one segment gets `~2` behind its id, and so on.

    The validation list of YouCook2 has one segment with two sentences.
    """
    seen: Counter[str] = Counter()
    named = []
    for clip in clips:
        seen[clip.id] += 1
        named.append(clip if seen[clip.id] == 1 else replace(clip, id=f"{clip.id}~{seen[clip.id]}"))
    return named


def holds_features(path: Path) -> bool:
    """Whether it is a form that brings its own features: a pickle, or a folder with clips.json and features.npz."""
    return path.suffix.lower() in PICKLES or (path.is_dir() and (path / STORE_FORM[0]).is_file())


def read_ready(path: Path, allow_pickle: bool) -> list[EvaluationClip]:
    """The clips of a pickled list of dictionaries, or of a folder with `clips.json` and `features.npz`.

    In a pickle, `id`, `caption` (text or list) or `eval_caption`, which comes first, `2d` and `3d` or `2d_pooled` and
    `3d_pooled`, `audio` (40, frames), `video_id`. Raises `ValueError` for anything else, naming the row.
    """
    if path.is_dir():
        return list(_of_folder(path))
    rows = read_pickle(path, allow_pickle)
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise ValueError(f"{path} holds a {type(rows).__name__}; a list of dictionaries, one per clip, is needed.")
    return [_of_row(path, number, row) for number, row in enumerate(rows)]


def _of_row(path: Path, number: int, row: Mapping[str, Any]) -> EvaluationClip:
    if "id" not in row:
        raise ValueError(f"Row {number} of {path} has no 'id', only {', '.join(map(str, row))}.")
    name = str(row["id"])
    given = row.get("eval_caption", row.get("caption"))
    captions = (given,) if isinstance(given, str) else tuple(map(str, () if given is None else given))
    if not captions:
        raise ValueError(f"The clip {name} of {path} has neither 'caption' nor 'eval_caption'.")
    streams = {}
    for stream in RATES:
        key = stream[-2:]
        values = row.get(f"{key}_pooled", row.get(key))
        if values is not None:
            streams[stream] = _numbers(values)
    audio = row.get("audio")
    return EvaluationClip(
        name,
        str(row.get("video_id", name[:11])),
        captions,
        streams,
        None if audio is None else _numbers(audio),
    )


def _numbers(values: Any) -> np.ndarray:
    array: np.ndarray = values.float().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, np.float32)
    return array


def _of_folder(folder: Path) -> Iterator[EvaluationClip]:
    """`clips.json`: a list of `id`, `caption` or `captions`, `video`; `features.npz`: `2d`, `3d` (clips, dim), and
    optionally `audio` (clips, 40, frames) with `num_frames` (clips,), 0 for a clip without."""
    rows = read_json(folder / STORE_FORM[0])
    try:
        with np.load(folder / STORE_FORM[1], allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / STORE_FORM[1]} cannot be read ({error}).") from error
    sizes = {name: len(values) for name, values in arrays.items()}
    if set(sizes.values()) != {len(rows)}:
        raise ValueError(f"{folder} lists {len(rows)} clips, but its arrays have {sizes}; one row per clip is needed.")
    for number, row in enumerate(rows):
        captions = row.get("captions") or [row["caption"]]
        streams = {stream: arrays[stream[-2:]][number] for stream in RATES if stream[-2:] in arrays}
        audio = None
        if "audio" in arrays:
            frames = int(arrays["num_frames"][number]) if "num_frames" in arrays else arrays["audio"].shape[2]
            audio = arrays["audio"][number, :, :frames]
        yield EvaluationClip(row["id"], row.get("video", row["id"][:11]), tuple(captions), streams, audio)


def read_json(path: Path) -> Any:
    """The content of a JSON file; raises `ValueError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error}).") from error


def with_features(listed: Sequence[ListedClip], files: FeatureFiles) -> Found:
    """The listed clips with their features; what is not there is absent, and counted where a file is broken.

    Of a clip with times, rows int(s f) to int(e f) inclusive of the file of its video, and the audio frames between;
    otherwise the whole file of its id. Raises `ValueError` where no place was given or nothing was found at all.
    """
    if files.features is None and files.audio is None:
        raise ValueError("This form lists captions alone; say where the features are (--features, --audio).")
    read = _Reader(files)
    clips = [EvaluationClip(clip.id, clip.video, clip.captions, *read(clip)) for clip in listed]
    if not any(clip.streams or clip.audio is not None for clip in clips):
        raise ValueError(
            f"Not one feature of the {len(clips)} clips is in {files.features or files.audio}; files are looked for "
            f"by id, for example {listed[0].video if listed else 'ID'}_2d.npz."
        )
    return Found(clips, {"broken_files": read.broken})


class _Reader:
    """Reads the files of a video once for its clips that follow one another."""

    def __init__(self, files: FeatureFiles) -> None:
        self.files = files
        self.broken: list[str] = []
        self._name: str | None = None
        self._held: dict[str, np.ndarray] = {}
        self._tensors: dict[str, Any] = {}
        if files.features is not None and files.features.suffix == ".pth":
            self._tensors = _tensors(files.features)

    def __call__(self, clip: ListedClip) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        name = clip.id if clip.start_s is None else clip.video
        if name != self._name:
            self._name, self._held = name, self._read(name)
        streams = {key: values for key, values in self._held.items() if key != "audio"}
        audio = self._held.get("audio")
        if clip.start_s is not None and clip.end_s is not None:
            streams = {key: _rows(values, RATES[key], clip.start_s, clip.end_s) for key, values in streams.items()}
            if audio is not None:
                times = np.rint(1000 * np.array([clip.start_s, clip.end_s])).astype(np.int64)
                low, high = audio_frame(times).tolist()
                audio = audio[:, low:high]
        return {key: values for key, values in streams.items() if len(values)}, audio

    def _read(self, name: str) -> dict[str, np.ndarray]:
        held = {}
        listed = Listed(name, name)
        for stream in RATES:
            key = stream[-2:]
            if self._tensors:
                if name in self._tensors.get(key, {}):
                    values = _numbers(self._tensors[key][name])
                    held[stream] = values.reshape(-1, values.shape[-1])
            elif self.files.features is not None:
                self._keep(held, stream, feature_files(self.files.features, listed, key), "features")
        if self.files.audio is not None:
            self._keep(held, "audio", audio_files(self.files.audio, listed), "arr_0")
        return held

    def _keep(self, held: dict[str, np.ndarray], what: str, candidates: Iterator[Path], key: str) -> None:
        try:
            values = read_numbers(candidates, key)
        except MediaError as error:
            self.broken.append(error.reason)
        else:
            if values is not None:
                held[what] = values


def _tensors(path: Path) -> dict[str, Any]:
    """`{"2d": {id: tensor}, "3d": {id: tensor}}`, read without running anything."""
    try:
        content = torch.load(path, weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as tensors alone ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; {{'2d': ..., '3d': ...}} is needed.")
    return content


def _rows(values: np.ndarray, rate: float, start_s: float, end_s: float) -> np.ndarray:
    return values[int(start_s * rate) : int(end_s * rate) + 1]


def completed(found: Found, listed: Sequence[ListedClip]) -> Found:
    """The clips of a gallery in its order: features from `found`, captions from the list.

    Clips of the list that were not found are kept, without features, and are counted; others are left out, counted.
    """
    by_id = {clip.id: clip for clip in found.clips}
    clips = []
    for entry in listed:
        clip = by_id.get(entry.id)
        streams, audio = ({}, None) if clip is None else (clip.streams, clip.audio)
        clips.append(EvaluationClip(entry.id, entry.video, entry.captions, streams, audio))
    names = {entry.id for entry in listed}
    lacking = [entry.id for entry in listed if entry.id not in by_id]
    outside = [clip.id for clip in found.clips if clip.id not in names]
    return Found(clips, found.notes | {"not_in_the_file": lacking, "not_in_the_gallery": outside})
