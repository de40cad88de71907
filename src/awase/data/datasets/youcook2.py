"""YouCook2 for retrieval: segments of cooking videos, a sentence each; 3,350 validation clips are the usual gallery."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from awase.data.datasets.retrieval_files import (
    NO_FILES,
    FeatureFiles,
    Found,
    ListedClip,
    completed,
    holds_features,
    numbered,
    read_json,
    read_ready,
    with_features,
)
from awase.data.features.evaluation_store import write_evaluation_store
from awase.data.splits import split_name

PUBLISHED_GALLERY = 3350
AUDIO_FRAMES = 5120


def convert_youcook2(
    path: Path,
    out: Path,
    *,
    split: str = "val",
    files: FeatureFiles = NO_FILES,
    gallery: Path | None = None,
    allow_pickle: bool = False,
    audio_frames: int = AUDIO_FRAMES,
) -> dict[str, Any]:
    """Writes the evaluation set `out` from any form of `path`; returns its description.

    Forms: a pickled list of clips, a folder with `clips.json` and `features.npz`; and, with `files`, the annotations
    (`youcookii_annotations_trainval.json`), a csv of `video_id,start,end,text`, a json list of `video_id` and `desc`.
    `gallery`, one of the latter, fixes which clips there are: those that `path` lacks count as not found. Raises
    `FileNotFoundError` and `ValueError`.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}; name a file or folder of YouCook2.")
    if holds_features(path):
        found = Found(read_ready(path, allow_pickle))
        if gallery is not None:
            found = completed(found, list_youcook2(gallery, split))
    else:
        found = with_features(list_youcook2(path, split), files)
    notes = {"split": split_name(split), "published_gallery": PUBLISHED_GALLERY} | found.notes
    return write_evaluation_store(out, "youcook2", found.clips, audio_frames=audio_frames, notes=notes)


def list_youcook2(path: Path, split: str = "val") -> list[ListedClip]:
    """The clips of an annotation file or list, ids `VIDEO_start_end`; `split` chooses within the annotations.

    Raises `ValueError` for another form and for a segment that ends before it begins.
    """
    if path.suffix.lower() == ".csv":
        clips = _of_csv(path)
    else:
        content = read_json(path)
        if isinstance(content, Mapping) and "database" in content:
            clips = _of_annotations(content["database"], split_name(split))
        elif isinstance(content, list):
            clips = [_of_description(row) for row in content]
        else:
            raise ValueError(f"{path} is neither annotations ('database') nor a list of clips.")
    if not clips:
        raise ValueError(f"{path} has no clips of the split {split!r}.")
    for clip in clips:
        if not 0 <= (clip.start_s or 0.0) <= (clip.end_s or 0.0):
            raise ValueError(f"The clip {clip.id} of {path} ends before it begins.")
    return numbered(clips)


def _of_csv(path: Path) -> list[ListedClip]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {"video_id", "start", "end", "text"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}; video_id,start,end,text are needed.")
        return [_clip(row["video_id"], row["start"], row["end"], row["text"]) for row in reader]


def _of_annotations(database: Mapping[str, Any], split: str) -> list[ListedClip]:
    return [
        _clip(video, entry["segment"][0], entry["segment"][1], entry["sentence"])
        for video, facts in database.items()
        if split_name(facts["subset"]) == split
        for entry in facts["annotations"]
    ]


def _of_description(row: Mapping[str, Any]) -> ListedClip:
    video, start, end = str(row["video_id"]).rsplit("_", 2)
    given = row["desc"]
    return _clip(video, start, end, given if isinstance(given, str) else given[0])


def _clip(video: str, start: Any, end: Any, text: str) -> ListedClip:
    return ListedClip(f"{video}_{start}_{end}", video, (text,), float(start), float(end))
