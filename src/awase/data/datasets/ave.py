"""AVE: 28 kinds of audio-visual events in clips of ten seconds, drawn from AudioSet."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from awase.config import AudioInput, Input, VideoInput
from awase.data.datasets.layout import Layout, LayoutRow
from awase.data.datasets.official_files import (
    MediaFiles,
    check_choice,
    files_below,
    locate,
    named,
    read_lines,
    some,
    unique_ids,
)
from awase.data.datasets.official_splits import shared_groups, without_leaks
from awase.data.infer import VIDEOS

CLASSES = (
    *("Church bell", "Male speech, man speaking", "Bark", "Fixed-wing aircraft, airplane", "Race car, auto racing"),
    *("Female speech, woman speaking", "Helicopter", "Violin, fiddle", "Flute", "Ukulele", "Frying (food)", "Truck"),
    *("Shofar", "Motorcycle", "Acoustic guitar", "Train horn", "Clock", "Banjo", "Goat", "Baby cry, infant cry"),
    *("Bus", "Chainsaw", "Cat", "Horse", "Toilet flush", "Rodents, rats, mice", "Accordion", "Mandolin"),
)
LISTS = {"train": "trainSet.txt", "val": "valSet.txt", "test": "testSet.txt"}
PUBLISHED = {"train": 3339, "val": 402, "test": 402}
PARTS = ("video", "event")
_BY_NAME = {name.lower(): name for name in CLASSES}


@dataclass(frozen=True)
class _Event:
    """One line; `split` is `None` for a line of `Annotations.txt` that no list has."""

    label: str
    video: str
    start_s: float
    end_s: float
    split: str | None


def read(root: Path, *, annotations: Path | None = None, part: str = "video") -> Layout:
    """Returns one row per line of the three lists, that is per event; the videos are the groups.

    Looks anywhere below `annotations`, or below `root` where none is given, for `trainSet.txt`, `valSet.txt` and
    `testSet.txt` (`category&video&quality&start&end`, with or without a header), and below `root` for the videos,
    `AVE/<video>.mp4`. `part` is what a row shows: the whole `video` of ten seconds, as in the comparisons that use AVE
    for classification, or its `event` alone. Lines that only `Annotations.txt` has are rows in no split.

    Splittings: `published`, the lists; `honest`, the default: without the training rows whose video is also in
    validation or test. Raises `FileNotFoundError` where a list is missing and `ValueError` for other options and for
    lines that are not as described.
    """
    check_choice("part", part, PARTS)
    events = _read_events(annotations or root)
    ids = unique_ids([f"{event.video}_{event.start_s:g}_{event.end_s:g}" for event in events])
    files = files_below(root)
    media = MediaFiles(files, sorted(VIDEOS, key=lambda suffix: (suffix != ".mp4", suffix)))
    home = _home(files, root)
    clips = locate(
        dict(zip(ids, (event.video for event in events), strict=True)), media, lambda name: home / f"{name}.mp4"
    )
    published = [event.split for event in events]
    videos = [event.video for event in events]
    honest = without_leaks(published, videos)
    return Layout(
        name="ave",
        rows=tuple(
            _row(row, event, split, clips.paths[row], part)
            for row, event, split in zip(ids, events, honest, strict=True)
        ),
        classes=CLASSES,
        class_order="first occurrence in the official Annotations.txt",
        multi_label=False,
        inputs=_inputs(part),
        default_splitting="honest",
        published_counts={"published": PUBLISHED},
        absent={"clip": tuple(clips.absent)},
        notes=(*_notes(events, published, honest), *clips.notes("clip"), *media.notes(videos), *_ABOUT),
        facts={
            "part": part,
            "drawn_from": ["AudioSet"],
            "removed_from_honest": [
                row for row, old, new in zip(ids, published, honest, strict=True) if old is not None and new is None
            ],
        },
    )


_ABOUT = (
    "The videos are drawn from AudioSet: an encoder pretrained on AudioSet may have seen the test videos.",
    "28 classes, numbered as they first occur in the official Annotations.txt; others number them otherwise.",
)


def _row(name: str, event: _Event, honest: str | None, path: Path, part: str) -> LayoutRow:
    start_s, end_s = (event.start_s, event.end_s) if part == "event" else (None, None)
    splits = {"published": event.split, "honest": honest}
    return LayoutRow(name, (event.label,), {"clip": path}, {}, splits, event.video, start_s=start_s, end_s=end_s)


def _inputs(part: str) -> dict[str, Input]:
    return {
        "video": VideoInput(column="clip", num_frames=3, height=224, width=224),
        "audio": AudioInput(
            column="clip",
            sample_rate_hz=22_050,
            window_s=10.0 if part == "video" else None,
            representation="ogm_ge_257",
        ),
    }


def _home(files: tuple[Path, ...], root: Path) -> Path:
    """The folder in which a missing video is expected: `AVE` beside the first list below the root, or `root/AVE`."""
    first = named(files, LISTS["train"])
    return (root if first is None else first.parent) / "AVE"


def _read_events(folder: Path) -> list[_Event]:
    files = files_below(folder)
    paths = {split: named(files, name) for split, name in LISTS.items()}
    missing = [LISTS[split] for split, path in paths.items() if path is None]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not the AVE data set: it has no {', '.join(missing)}. Looked there and in its subfolders for "
            f"{', '.join(LISTS.values())} and for AVE/<video>.mp4; lists that lie elsewhere are named by the option "
            "annotations."
        )
    events = [event for split, path in paths.items() if path is not None for event in _read_list(path, split)]
    whole = named(files, "Annotations.txt")
    known = {(event.label, event.video, event.start_s, event.end_s) for event in events}
    others = [] if whole is None else _read_list(whole, None)
    return events + [event for event in others if (event.label, event.video, event.start_s, event.end_s) not in known]


def _read_list(path: Path, split: str | None) -> list[_Event]:
    lines = read_lines(path)
    header = bool(lines) and [cell.strip().lower() for cell in lines[0].split("&")][:2] == ["category", "videoid"]
    return [_event(line, split, path) for line in lines[header:]]


def _event(line: str, split: str | None, path: Path) -> _Event:
    cells = [cell.strip() for cell in line.split("&")]
    try:
        label, video, _, start, end = cells
        event = _Event(_BY_NAME[label.lower()], video, float(start), float(end), split)
    except KeyError as error:
        raise ValueError(
            f"{path} has the category {cells[0]!r}, which is none of the {len(CLASSES)} of AVE."
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} has the line {line!r}; a line of AVE is category&video&quality&start&end.") from error
    return event


def _notes(events: list[_Event], published: list[str | None], honest: tuple[str | None, ...]) -> list[str]:
    videos = [event.video for event in events]
    notes = []
    shared = shared_groups(published, videos)
    if shared:
        pairs = Counter(" and ".join(where) for where in shared.values())
        counts = ", ".join(f"{where}: {count}" for where, count in sorted(pairs.items()))
        removed = sum(new is None and old is not None for old, new in zip(published, honest, strict=True))
        notes.append(
            f"{len(shared)} videos are in more than one published split ({counts}); the honest splitting leaves out "
            f"{removed} rows of them: {some(list(shared))}."
        )
    several = [video for video, count in Counter(videos).items() if count > 1]
    if several:
        notes.append(f"{len(several)} videos have several events, each a row of its own.")
    twice = len(events) - len({(event.label, event.video, event.start_s, event.end_s) for event in events})
    if twice:
        notes.append(f"{twice} lines occur more than once, in one list or in two; each is a row.")
    unlisted = sum(split is None for split in published)
    if unlisted:
        notes.append(f"{unlisted} lines of Annotations.txt are in none of the three lists; they are in no split.")
    return notes
