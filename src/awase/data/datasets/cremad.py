"""CREMA-D: 91 actors say 12 sentences in six emotions; sound and picture lie in separate files."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from awase.config import AudioInput, VideoInput
from awase.data.datasets.layout import Layout, LayoutRow
from awase.data.datasets.official_files import (
    Located,
    MediaFiles,
    files_below,
    locate,
    named,
    read_cells,
    some,
    unusable,
)
from awase.data.datasets.official_splits import seeded_folds, shared_groups
from awase.data.infer import SOUNDS, VIDEOS

CLASSES = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
ACTORS = tuple(str(number) for number in range(1001, 1092))
PUBLISHED = {"train": 6698, "test": 744}
LISTS = {"train": "train.csv", "test": "test.csv"}
_NAME = re.compile(rf"(\d{{4}})_({'|'.join(SENTENCES)})_({'|'.join(CLASSES)})_(XX?|LO|MD|HI)", re.IGNORECASE)


def read(root: Path, *, annotations: Path | None = None, folds: int = 5, seed: int = 0) -> Layout:
    """Returns one row per clip; the actors are the groups, the emotion that the actor was asked for is the label.

    Looks anywhere below `root` for `AudioWAV/<clip>.wav` and `VideoFlash/<clip>.flv` (where none of these can be used,
    for files of the ending that most have: endings are not mixed), and below `annotations`, or `root` where none is
    given, for the official `SentenceFilenames.csv` and for the lists `train.csv` and `test.csv` of lines
    `clip,EMOTION`. A clip that only some of these know is a row all the same.

    Splittings: `honest`, the default, is by actor: the 91 actors are dealt into `folds` folds with `seed`, fold 0 is
    test; a row's fold is its actor's. `published`, where both lists are there, has all actors in train and test. Raises
    `FileNotFoundError` where no clip is found and `ValueError` for other options and broken lists.
    """
    fold_of = seeded_folds(ACTORS, folds, seed)
    files = files_below(root)
    endings = {"audio": _ending(files, SOUNDS, ".wav"), "video": _ending(files, VIDEOS, ".flv")}
    sound, video = (MediaFiles(files, [ending], clip_name) for ending in endings.values())
    label_files = files if annotations is None else files_below(annotations)
    official = _official(label_files)
    lists = _read_lists(label_files)
    clips = sorted({*sound.keys(), *video.keys(), *official, *(clip for split in lists.values() for clip in split)})
    if not clips:
        raise FileNotFoundError(
            f"{root} is not CREMA-D: there is no clip named like 1001_DFA_ANG_XX. Looked there and in its subfolders "
            "for AudioWAV/*.wav, VideoFlash/*.flv, SentenceFilenames.csv, train.csv and test.csv."
        )
    wanted = dict(zip(clips, clips, strict=True))
    audio_files = locate(wanted, sound, lambda clip: root / "AudioWAV" / f"{clip}{endings['audio']}")
    video_files = locate(wanted, video, lambda clip: root / "VideoFlash" / f"{clip}{endings['video']}")
    published = _published(clips, lists)
    return Layout(
        name="cremad",
        rows=tuple(
            LayoutRow(
                id=clip,
                labels=(emotion_of(clip),),
                files={"audio": audio_files.paths[clip], "video": video_files.paths[clip]},
                texts={},
                splits=_splits(fold_of[actor_of(clip)], None if published is None else (published[clip],)),
                group=actor_of(clip),
                fold=fold_of[actor_of(clip)],
            )
            for clip in clips
        ),
        classes=CLASSES,
        class_order="that of the OGM-GE lists: NEU, HAP, SAD, FEA, DIS, ANG",
        multi_label=False,
        inputs={
            "video": VideoInput(column="video", num_frames=3, height=224, width=224),
            "audio": AudioInput(column="audio", sample_rate_hz=22_050, window_s=3.0, representation="ogm_ge_257"),
        },
        default_splitting="honest",
        published_counts={} if published is None else {"published": PUBLISHED},
        absent={"audio": tuple(audio_files.absent), "video": tuple(video_files.absent)},
        notes=tuple(
            _notes(_Seen(clips, lists, published, official, files), {"audio": audio_files, "video": video_files})
        ),
        facts={"folds": folds, "seed": seed, "endings": endings, "actors": len({actor_of(clip) for clip in clips})},
    )


def clip_name(stem: str) -> str | None:
    """Returns the clip's name as it is official, in upper case and with `XX` for the level `X`; `None` of no clip.

    >>> clip_name("1040_ITH_SAD_X"), clip_name("1092_ITH_SAD_XX")
    ('1040_ITH_SAD_XX', None)
    """
    match = _NAME.fullmatch(stem)
    if match is None or match[1] not in ACTORS:
        return None
    actor, sentence, emotion, level = (part.upper() for part in match.groups())
    return f"{actor}_{sentence}_{emotion}_{'XX' if level == 'X' else level}"


def actor_of(clip: str) -> str:
    """Returns the number of the actor, as text."""
    return clip.split("_")[0]


def emotion_of(clip: str) -> str:
    """Returns the emotion that was asked for."""
    return clip.split("_")[2]


def _ending(files: Iterable[Path], allowed: Iterable[str], official: str) -> str:
    """The official ending where clips of it can be used, else the one of which most can."""
    usable_files = Counter(
        path.suffix.lower()
        for path in files
        if path.suffix.lower() in allowed and clip_name(path.stem) and unusable(path) is None
    )
    return official if usable_files[official] else max([official, *sorted(usable_files)], key=usable_files.__getitem__)


def _splits(fold: int, published: tuple[str | None] | None) -> dict[str, str | None]:
    honest: dict[str, str | None] = {"honest": "test" if fold == 0 else "train"}
    return honest if published is None else {"published": published[0], **honest}


def _official(files: Iterable[Path]) -> tuple[str, ...]:
    """The clips of `SentenceFilenames.csv`, where it is there."""
    path = named(files, "SentenceFilenames.csv")
    names = [] if path is None else [clip_name(row[-1]) for row in read_cells(path)[1:]]
    return tuple(name for name in names if name is not None)


def _read_lists(files: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Split -> clip -> emotion, of the lists that are there and hold clips."""
    lists = {}
    for split, name in LISTS.items():
        paths = [path for path in files if path.name.lower() == name]
        read = [rows for rows in (_read_list(path) for path in paths) if rows is not None]
        if read:
            lists[split] = read[0]
    return lists


def _read_list(path: Path) -> dict[str, str] | None:
    """Clip -> emotion; `None` of a table of something else. The first line may be a header."""
    rows = read_cells(path)
    if not any(clip_name(row[0]) for row in rows[:2]):
        return None
    emotions = {}
    for row in rows if clip_name(rows[0][0]) else rows[1:]:
        clip = clip_name(row[0])
        if clip is None or len(row) < 2 or row[1].upper() not in CLASSES:
            raise ValueError(f"{path} has the line {','.join(row)!r}; a line is clip,EMOTION with one of {CLASSES}.")
        emotions[clip] = row[1].upper()
    return emotions


def _published(clips: Sequence[str], lists: Mapping[str, Mapping[str, str]]) -> dict[str, str | None] | None:
    """Clip -> split, where both lists are there; a clip in both is in test."""
    if set(lists) != set(LISTS):
        return None
    return {clip: "test" if clip in lists["test"] else "train" if clip in lists["train"] else None for clip in clips}


@dataclass(frozen=True)
class _Seen:
    """What was found, for the notes."""

    clips: list[str]
    lists: Mapping[str, Mapping[str, str]]
    published: Mapping[str, str | None] | None
    official: tuple[str, ...]
    files: tuple[Path, ...]


def _notes(seen: _Seen, located: Mapping[str, Located]) -> list[str]:
    actors = {actor_of(clip) for clip in seen.clips}
    notes = [
        "6 classes, numbered as in the OGM-GE lists. The label is the emotion that the actor was asked for, as in the "
        "file's name, not the one that raters heard.",
        "No validation is published; it is carved out of train, by actor, when the data is opened.",
    ]
    if seen.official:
        notes.append(f"SentenceFilenames.csv names {len(seen.official)} clips of 7442.")
    if len(actors) < len(ACTORS):
        notes.append(f"{len(actors)} of {len(ACTORS)} actors are there.")
    return [*notes, *_list_notes(seen), *_file_notes(seen.files, located)]


def _list_notes(seen: _Seen) -> list[str]:
    if seen.published is None:
        one = "; one alone makes no splitting" if seen.lists else ""
        return [f"The published splitting is not there: it takes train.csv and test.csv of lines clip,EMOTION{one}."]
    notes = []
    shared = shared_groups([seen.published[clip] for clip in seen.clips], [actor_of(clip) for clip in seen.clips])
    if shared:
        actors = {actor_of(clip) for clip, split in seen.published.items() if split is not None}
        notes.append(
            f"{len(shared)} of {len(actors)} actors are in both train and test of the published splitting: it tests no "
            "new speakers."
        )
    both = sorted(set(seen.lists["train"]) & set(seen.lists["test"]))
    if both:
        notes.append(f"{len(both)} clips are in both lists and count as test: {some(both)}.")
    outside = [clip for clip in seen.clips if seen.published[clip] is None]
    if outside:
        notes.append(f"{len(outside)} clips are in neither list: {some(outside)}.")
    wrong = [
        clip for rows in seen.lists.values() for clip, emotion in sorted(rows.items()) if emotion != emotion_of(clip)
    ]
    if wrong:
        notes.append(
            f"{len(wrong)} clips are listed with another emotion than in their name, which counts: {some(wrong)}."
        )
    return notes


def _file_notes(files: Iterable[Path], located: Mapping[str, Located]) -> list[str]:
    notes = [note for column, found in located.items() for note in found.notes(column)]
    media = Counter(path.suffix.lower() for path in files if path.suffix.lower() in SOUNDS | VIDEOS)
    odd = [path.name for path in files if path.suffix.lower() in media and clip_name(path.stem) is None]
    return notes + (
        [f"{len(odd)} media files are not named like a clip and were left out: {some(odd)}."] if odd else []
    )
