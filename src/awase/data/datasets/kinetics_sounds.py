"""Kinetics-Sounds: the classes of Kinetics-400 that can be both seen and heard."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from awase.config import AudioInput, VideoInput
from awase.data.datasets.kinetics_sounds_classes import BUILT_IN, CLASSES_31, CLASSES_34, chosen_classes, spelt
from awase.data.datasets.kinetics_sounds_lists import (
    FORMS,
    ListedClip,
    clip_key,
    clips_in_folders,
    find_lists,
    read_list,
)
from awase.data.datasets.layout import Layout, LayoutRow
from awase.data.datasets.official_files import (
    Located,
    MediaFiles,
    check_choice,
    files_below,
    locate,
    some,
    unique_ids,
)
from awase.data.datasets.official_splits import seeded_test, shared_groups, without_leaks
from awase.data.infer import VIDEOS

PUBLISHED = {"ogm_ge": {"train": 14_799, "test": 2597}}
_FOLDERS = "folders"


def read(
    root: Path,
    *,
    form: str = "auto",
    annotations: Path | None = None,
    classes: str | Path | tuple[str, ...] = "31",
    seed: int = 0,
    test_fraction: float = 0.15,
) -> Layout:
    """Returns one row per clip of the chosen classes; the videos on YouTube are the groups.

    The clips, `<id>_<start>_<end>.mp4` or `<id>_<start>.mp4`, seconds padded with zeros or not, lie anywhere below
    `root`. `form` is where labels and splits come from: `ogm_ge` (`my_train.txt`, `my_test.txt`: clip,duration,number),
    `balance_benchmark` (spaces between: clip ... number), `kinetics400` (its csv with label, youtube_id, time_start,
    time_end, split), `folders` (named by class, below folders named by split or not); `auto` takes the first of these
    that is below `annotations`, or below `root` where none is given.
    `classes` are the built-in `31` or `34`, a file with one per line, or names; numbered lists number them in order.

    Splittings: `published`, where the lists or folders have splits (validation is test where there is no test), and
    `honest`, the default: published without training clips of a video that is also in validation or test; without
    published splits a share `test_fraction` of the videos of each class, drawn with `seed`, is test. Raises
    `FileNotFoundError` where nothing is found and `ValueError` for other options and broken lists.
    """
    check_choice("form", form, ("auto", *FORMS, _FOLDERS))
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction = {test_fraction} is refused; use a share between 0 and 1.")
    names = chosen_classes(classes)
    files = files_below(root)
    found = _find(files, root, annotations, form, names)
    listed = _validation_as_test(found.clips)
    published, honest = _splits(listed, test_fraction, seed)
    ids = unique_ids([f"{clip.youtube_id}_{clip.start_s:06d}" for clip in listed])
    clips, media_notes = _media(files, root, dict(zip(ids, listed, strict=True)))
    notes = [*found.notes, *_split_notes(found.clips, published, seed), *media_notes]
    return Layout(
        name="kinetics_sounds",
        rows=tuple(
            LayoutRow(
                id=row,
                labels=(clip.label,),
                files={"clip": clips.paths[row]},
                texts={},
                splits={"honest": split} if published is None else {"published": clip.split, "honest": split},
                group=clip.youtube_id,
            )
            for row, clip, split in zip(ids, listed, honest, strict=True)
        ),
        classes=names,
        class_order="alphabetical" if names in (CLASSES_31, CLASSES_34) else "as given in the option classes",
        multi_label=False,
        inputs={
            "video": VideoInput(column="clip", num_frames=3, height=224, width=224),
            "audio": AudioInput(column="clip", window_s=10.0, representation="log_mel_128"),
        },
        default_splitting="honest",
        published_counts={"published": PUBLISHED[found.form]} if published and found.form in PUBLISHED else {},
        absent={"clip": tuple(clips.absent)},
        notes=(*_class_notes(names, listed), *notes, _ABOUT),
        facts={"form": found.form, "num_classes": len(names), "drawn_from": ["Kinetics-400"]},
    )


_ABOUT = (
    "The clips are part of Kinetics-400: an encoder pretrained on Kinetics may have seen the test clips and has seen "
    "the classes."
)

_NUMBERED = (
    "The lists give numbers and no names; they were taken to number the classes in order. Where clips lie in folders "
    "named by class, the two were compared.",
)


@dataclass(frozen=True)
class _Found:
    """The clips, the form they were found in, and what is to be said about that."""

    form: str
    clips: list[ListedClip]
    notes: tuple[str, ...]


def _splits(
    listed: Sequence[ListedClip], test_fraction: float, seed: int
) -> tuple[Sequence[str | None] | None, Sequence[str | None]]:
    """The published splits, `None` where no clip is test, and the honest ones."""
    published = [clip.split for clip in listed]
    if "test" in published:
        return published, without_leaks(published, [clip.youtube_id for clip in listed])
    drawn = seeded_test({clip.youtube_id: clip.label for clip in listed}, test_fraction, seed)
    return None, [drawn[clip.youtube_id] for clip in listed]


def _find(files: Sequence[Path], root: Path, annotations: Path | None, form: str, names: Sequence[str]) -> _Found:
    lists = find_lists(files if annotations is None else _annotation_files(annotations))
    there = [name for name in FORMS if name in lists]
    if form in FORMS or (form == "auto" and there):
        chosen = there[0] if form == "auto" else form
        if chosen in lists:
            clips = _read_lists(chosen, lists[chosen], names)
            used = ", ".join(sorted(path.name for path in lists[chosen].values()))
            others = [name for name in there if name != chosen]
            more = f"; lists of the form {', '.join(others)} are there too and were not read" if others else ""
            notes = (
                f"Labels and splits come from {used} (form {chosen}){more}.",
                *_NUMBERED[: chosen != "kinetics400"],
            )
            return _Found(chosen, clips, notes)
    folders = clips_in_folders(files, root, names) if form in ("auto", _FOLDERS) else []
    if not folders:
        raise FileNotFoundError(
            f"{annotations or root} has no lists of Kinetics-Sounds{'' if form == 'auto' else f' of the form {form}'}: "
            "looked for my_train.txt and my_test.txt, for train, val or test .txt or .csv with clip names and class "
            f"numbers, for a csv of Kinetics-400, and below {root} for folders named by class."
        )
    return _Found(_FOLDERS, folders, ("Labels come from the names of the folders; there was no list.",))


def _annotation_files(annotations: Path) -> tuple[Path, ...]:
    return (annotations,) if annotations.is_file() else files_below(annotations)


def _read_lists(form: str, lists: dict[str, Path], names: Sequence[str]) -> list[ListedClip]:
    if form != "kinetics400" and tuple(names) == CLASSES_34:
        raise ValueError(
            "classes = '34' is refused: the lists have numbers, and those number the 31 classes; use "
            f"{', '.join(name for name in BUILT_IN if name != '34')}, or name the classes in order."
        )
    order = sorted(lists, key=lambda split: ("train", "val", "test", "all").index(split))
    clips = [clip for split in order for clip in read_list(form, split, lists[split], names)]
    if not clips:
        raise ValueError(
            f"The lists {', '.join(map(str, lists.values()))} name no clip of the classes {some(names)}; name those of "
            "the lists in the option classes."
        )
    return clips


def _validation_as_test(clips: list[ListedClip]) -> list[ListedClip]:
    """The clips with validation as test where no clip is test: a list without test keeps its labels to itself."""
    if any(clip.split == "test" for clip in clips):
        return clips
    return [replace(clip, split="test") if clip.split == "val" else clip for clip in clips]


def _media(files: Sequence[Path], root: Path, listed: dict[str, ListedClip]) -> tuple[Located, list[str]]:
    media = MediaFiles(files, sorted(VIDEOS, key=lambda suffix: (suffix != ".mp4", suffix)), clip_key)
    by_key = {clip.key: clip for clip in listed.values()}
    located = locate(
        {row: clip.key for row, clip in listed.items()}, media, lambda key: root / _expected_name(by_key[key])
    )
    return located, [*located.notes("clip"), *media.notes(by_key), *_folder_notes(located, listed)]


def _expected_name(clip: ListedClip) -> str:
    end = clip.start_s + 10 if clip.end_s is None else clip.end_s
    return f"{clip.youtube_id}_{clip.start_s:06d}_{end:06d}.mp4"


def _folder_notes(located: Located, listed: dict[str, ListedClip]) -> list[str]:
    """Whether the labels of the lists agree with the folders, where these are named by class."""
    named = {row: spelt(path.parent.name) for row, path in located.paths.items() if row not in located.absent}
    checked = [row for row, name in named.items() if name in CLASSES_34 or name == listed[row].label]
    wrong = [row for row in checked if named[row] != listed[row].label]
    if not wrong:
        return []
    example = f"{wrong[0]} is {listed[wrong[0]].label!r} in the list and lies in {named[wrong[0]]!r}"
    return [
        f"{len(wrong)} of {len(checked)} clips lie in a folder of another class than the list says ({example}); the "
        "list was followed. Check the option classes."
    ]


def _class_notes(names: Sequence[str], listed: Sequence[ListedClip]) -> list[str]:
    counts = Counter(clip.label for clip in listed)
    empty = [name for name in names if counts[name] == 0]
    notes = [f"{len(names)} classes. Papers use 27, 31, 32 or 34: only results with the same classes can be compared."]
    return notes + ([f"{len(empty)} classes have no clip: {some(empty)}."] if empty else [])


def _split_notes(clips: Sequence[ListedClip], published: Sequence[str | None] | None, seed: int) -> list[str]:
    if published is None:
        return [
            f"There is no test list; the test of the honest splitting was drawn by video with seed {seed}.",
            "There is no validation; it is carved out of train, by video, when the data is opened.",
        ]
    notes = []
    if all(clip.split != "test" for clip in clips):
        notes.append("The lists have no test; their validation is the test.")
    if "val" not in published:
        notes.append("No validation is published; it is carved out of train, by video, when the data is opened.")
    shared = shared_groups(published, [clip.youtube_id for clip in clips])
    if shared:
        notes.append(
            f"{len(shared)} videos are in more than one published split; the honest splitting leaves their earlier "
            f"clips out: {some(list(shared))}."
        )
    twice = len(clips) - len({clip.key for clip in clips})
    return notes + ([f"{twice} clips are listed more than once; each line is a row."] if twice else [])
