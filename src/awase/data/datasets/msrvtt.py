"""MSR-VTT for retrieval: short clips with twenty sentences each; the splits of the literature by name."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from awase.data.datasets.official_files import read_lines
from awase.data.datasets.retrieval_files import (
    NO_FILES,
    FeatureFiles,
    Found,
    ListedClip,
    completed,
    holds_features,
    read_json,
    read_ready,
    with_features,
)
from awase.data.features.evaluation_store import write_evaluation_store
from awase.data.splits import split_name

AUDIO_FRAMES = 3072
OFFICIAL = {"full-train": (0, 6513), "full-val": (6513, 7010), "full-test": (7010, 10000), "7k": (0, 7010)}
"""Numbers of the clips, from the first to before the last; the 2017 file marks test clips otherwise."""
SPLIT_FILES = {
    "1k-A": ("MSRVTT_JSFUSION_test.csv", "val_list_jsfusion.txt", "msrvtt_test.csv"),
    "9k": ("MSRVTT_train.9k.csv", "train_list_jsfusion.txt"),
    "7k": ("MSRVTT_train.7k.csv",),
    "1k-B": ("test_list_miech.txt",),
    "1k-B-train": ("train_list_miech.txt",),
    "full-train": ("train_list_full.txt",),
    "full-val": ("val_list_full.txt",),
    "full-test": ("test_list_full.txt",),
}
PUBLISHED = {
    "1k-A": 1000, "9k": 9000, "7k": 7010, "1k-B": 1000, "1k-B-train": 6656, "full-train": 6513, "full-val": 497,
    "full-test": 2990,
}  # fmt: skip


def convert_msrvtt(
    path: Path,
    out: Path,
    *,
    split: str = "1k-A",
    lists: Path | None = None,
    sentences: Path | None = None,
    files: FeatureFiles = NO_FILES,
    allow_pickle: bool = False,
    audio_frames: int = AUDIO_FRAMES,
) -> dict[str, Any]:
    """Writes the evaluation set `out` from any form of `path`; returns its description.

    Forms: a pickled list of clips, a folder with `clips.json` and `features.npz`; and, with `files`, a csv with
    `video_id` and `sentence`, the official json (`videos`, `sentences`), `MSR_VTT.json` (`annotations`), a json list of
    `video_id` and `desc`. `lists` is the folder of the split lists; `sentences` a csv or json with the captions where
    `path` or the list has none. Together with a pickle they fix the gallery: clips that the pickle lacks count as not
    found. Without them a pickle or folder must have as many clips as the split, where the published pickle of 1k-A has
    968 of 1,000. A csv of the split brings the caption that is asked with; otherwise the first of a clip's sentences
    comes first. Raises `FileNotFoundError` and `ValueError`.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}; name a file or folder of MSR-VTT.")
    if split not in SPLIT_FILES:
        raise ValueError(f"{split!r} is not a split of MSR-VTT; use one of {', '.join(SPLIT_FILES)}.")
    if holds_features(path):
        found = Found(read_ready(path, allow_pickle))
        if lists is not None or sentences is not None:
            known = _captions_of(found) | ({} if sentences is None else read_sentences(sentences))
            chosen = list(read_sentences(sentences)) if lists is None and sentences is not None else None
            found = completed(found, list_split(split, lists, known, chosen))
        elif len(found.clips) != PUBLISHED[split]:
            raise ValueError(
                f"{path} has {len(found.clips)} clips and the split {split} {PUBLISHED[split]}; clips that lack "
                "features belong to the gallery and count as not found. Name the folder of the split lists with "
                f"--lists ({' or '.join(SPLIT_FILES[split])}), or a csv or json of the clips that count with "
                "--sentences."
            )
    else:
        found = with_features(list_msrvtt(path, split, lists, sentences), files)
    notes = {"split": split, "published_gallery": PUBLISHED[split]} | found.notes
    if path.suffix.lower() == ".json":
        notes["split_marks_of_the_json"] = split_marks(path)
    return write_evaluation_store(out, "msrvtt", found.clips, audio_frames=audio_frames, notes=notes)


def list_msrvtt(path: Path, split: str, lists: Path | None = None, sentences: Path | None = None) -> list[ListedClip]:
    """The clips of a split with their captions; a csv or a json list of clips is a split by itself.

    Raises `ValueError` for a clip without a caption and for a split that neither `path` nor `lists` can tell.
    """
    known = read_sentences(path)
    if sentences is not None:
        known = read_sentences(sentences) | {clip: found for clip, found in known.items() if found}
    is_split = path.suffix.lower() == ".csv" or isinstance(read_json(path), list)
    return list_split(split, lists, known, list(read_sentences(path)) if is_split and lists is None else None)


def list_split(
    split: str, lists: Path | None, known: Mapping[str, Sequence[str]], chosen: list[str] | None
) -> list[ListedClip]:
    """The clips `chosen`, or else those of the split; captions from its csv if it has some, else from `known`."""
    own: Mapping[str, Sequence[str]] = {}
    if chosen is None:
        chosen, own = split_members(split, lists)
    lacking = [clip for clip in chosen if not own.get(clip) and not known.get(clip)]
    if lacking:
        raise ValueError(
            f"{len(lacking)} of the {len(chosen)} clips of {split} have no caption, first {lacking[0]}; name a csv or "
            "json that has them (--sentences)."
        )
    return [ListedClip(clip, clip, tuple(own.get(clip) or known[clip])) for clip in chosen]


def split_members(split: str, lists: Path | None) -> tuple[list[str], dict[str, list[str]]]:
    """Ids of a split in the order of its list, and the captions that the list has itself."""
    for name in SPLIT_FILES[split] if lists is not None else ():
        assert lists is not None
        path = next((found for found in (lists / name, lists / Path(name).stem) if found.is_file()), None)
        if path is not None:
            if name.endswith(".csv"):
                own = read_sentences(path)
                return list(own), own
            return read_lines(path), {}
    if split not in OFFICIAL:
        raise ValueError(
            f"The split {split} needs a list: {' or '.join(SPLIT_FILES[split])} in the folder of --lists "
            f"({'not given' if lists is None else lists})."
        )
    return [f"video{number}" for number in range(*OFFICIAL[split])], {}


def read_sentences(path: Path) -> dict[str, list[str]]:
    """Id of a clip -> its captions, in the order of the file; raises `ValueError` for another form."""
    if path.suffix.lower() == ".csv":
        return _of_csv(path)
    content = read_json(path)
    found: dict[str, list[str]] = {}
    if isinstance(content, list):
        pairs = [(row["video_id"], row["desc"]) for row in content]
    elif "sentences" in content:
        pairs = [(row["video_id"], row["caption"]) for row in content["sentences"]]
    elif "annotations" in content:
        pairs = [(row["image_id"], row["caption"]) for row in content["annotations"]]
    else:
        raise ValueError(f"{path} has none of 'sentences', 'annotations' and a list of clips; it is no MSR-VTT file.")
    for clip, caption in pairs:
        found.setdefault(str(clip), []).extend([caption] if isinstance(caption, str) else caption)
    return found


def split_marks(path: Path) -> dict[str, int]:
    """How many clips the official json marks for each split (`validate` is `val`); empty where it marks none."""
    content = read_json(path)
    videos = content.get("videos", []) if isinstance(content, Mapping) else []
    return dict(Counter(split_name(video["split"]) for video in videos if "split" in video))


def _of_csv(path: Path) -> dict[str, list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if "video_id" not in (reader.fieldnames or ()):
            raise ValueError(f"{path} has no column video_id, only {', '.join(reader.fieldnames or ()) or 'none'}.")
        found: dict[str, list[str]] = {}
        for row in reader:
            found.setdefault(row["video_id"], []).extend([row["sentence"]] if row.get("sentence") else [])
        return found


def _captions_of(found: Found) -> dict[str, list[str]]:
    return {clip.id: list(clip.captions) for clip in found.clips}
