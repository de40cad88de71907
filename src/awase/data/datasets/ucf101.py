"""UCF101: 101 actions in short films, as RGB frames and optical flow, with three published folds."""

import re
from pathlib import Path

from awase.config import FlowInput, Input, VideoInput
from awase.data.datasets.layout import Layout, LayoutRow
from awase.data.datasets.layout_files import need
from awase.data.datasets.official_files import some
from awase.data.datasets.ucf101_files import VideoFiles, find_flow, find_videos
from awase.data.datasets.ucf101_lists import Listed, Lists, read_lists

PUBLISHED = {
    "fold1": {"train": 9537, "test": 3783},
    "fold2": {"train": 9586, "test": 3734},
    "fold3": {"train": 9624, "test": 3696},
}
_LIST_PLACES = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist", ".")
_GROUP = re.compile(r"_g(\d+)_c\d+$", re.IGNORECASE)
_CARVED = "No fold publishes a validation split: it is carved out of train by group when the data is opened."


def read(root: Path, *, lists: str | None = None, video: str | None = None, flow: str | None = None) -> Layout:
    """The films that the published lists name, with their files.

    Looks below `root` for `ucfTrainTestlist/` (`classInd.txt`, `trainlist0k.txt`, `testlist0k.txt`, at least one fold),
    for films in `UCF-101/<Class>/v_*.avi` or frames in `jpegs_256/v_*/` or `rawframes/<Class>/v_*/`, and for flow in
    `tvl1_flow/{u,v}/v_*/`, `rawframes/` or `flow/` (as `awase data flow` writes it); `lists`, `video` and `flow` name
    other places, relative to `root`. Names are matched whatever their case (`HandstandPushups/v_HandStandPushups_*`).
    There is one splitting per fold, `fold1` to `fold3`; a row's `fold` is the one that tests it. The groups are the
    recordings that films were cut out of. Raises `FileNotFoundError` where lists or films are not found.
    """
    folder = need(root, _LIST_PLACES, "folder of lists of UCF101") if lists is None else root / lists
    listed = read_lists(folder)
    videos = listed.videos()
    names = _class_names(listed, videos)
    files = {"video": find_videos(root, video)}
    found = find_flow(root, flow)
    if found is not None:
        files["flow"] = found
    members = _members(listed)
    return Layout(
        name="ucf101",
        rows=tuple(_row(line, names[line.folder.lower()], members[key], files) for key, line in videos.items()),
        classes=tuple(names.values()),
        class_order="the numbers in classInd.txt" if listed.classes else "sorted, for want of classInd.txt",
        multi_label=False,
        inputs=_inputs(files),
        default_splitting=f"fold{min(listed.folds)}",
        published_counts={f"fold{fold}": PUBLISHED[f"fold{fold}"] for fold in listed.folds},
        absent={
            column: tuple(
                line.video for line in videos.values() if not place.path(line.video, names[line.folder.lower()])[1]
            )
            for column, place in files.items()
        },
        notes=(_CARVED, *_notes(listed, names, files, videos)),
        facts={"folds": sorted(listed.folds)},
    )


def _class_names(listed: Lists, videos: dict[str, Listed]) -> dict[str, str]:
    """Lower-case class -> class as it is written, in the order of the classes."""
    folders = sorted({line.folder for line in videos.values()})
    names = {name.lower(): name for name in listed.classes.values() or folders}
    unknown = [name for name in folders if name.lower() not in names]
    if unknown:
        raise ValueError(f"The lists of UCF101 name the classes {some(unknown)}, which classInd.txt does not have.")
    return names


def _members(listed: Lists) -> dict[str, dict[str, str | None]]:
    """Lower-case video -> splitting -> split."""
    members: dict[str, dict[str, str | None]] = {
        key: {f"fold{fold}": None for fold in listed.folds} for key in listed.videos()
    }
    for fold, splits in listed.folds.items():
        for split in ("train", "test"):  # a film in both lists of a fold is a test film
            for line in splits[split]:
                members[line.video.lower()][f"fold{fold}"] = split
    return members


def _row(line: Listed, name: str, splits: dict[str, str | None], files: dict[str, VideoFiles]) -> LayoutRow:
    group = _GROUP.search(line.video)
    return LayoutRow(
        id=line.video,
        labels=(name,),
        files={column: place.path(line.video, name)[0] for column, place in files.items()},
        texts={},
        splits=splits,
        group=line.video if group is None else f"{name}_g{int(group[1]):02d}",
        fold=next((int(splitting[-1]) for splitting, split in splits.items() if split == "test"), None),
    )


def _inputs(files: dict[str, VideoFiles]) -> dict[str, Input]:
    inputs: dict[str, Input] = {"video": VideoInput(column="video", num_frames=3, height=224, width=224)}
    if "flow" in files:
        inputs["flow"] = FlowInput(column="flow")
    return inputs


def _notes(listed: Lists, names: dict[str, str], files: dict[str, VideoFiles], videos: dict[str, Listed]) -> list[str]:
    notes = [_order_note(tuple(names.values())), _number_note(listed)]
    for column, place in files.items():
        extra = sorted(place.paths.keys() - videos.keys())
        if extra:
            notes.append(f"{len(extra)} files of {column} are in no list and were left out: {some(extra)}.")
    for fold, splits in listed.folds.items():
        both = {line.video for line in splits["train"]} & {line.video for line in splits["test"]}
        if both:
            notes.append(f"Fold {fold} lists {len(both)} films for train and for test; test has them.")
    if "flow" not in files:
        notes.append("There is no optical flow; `awase data flow` computes it from the films.")
    return [note for note in notes if note is not None]


def _order_note(classes: tuple[str, ...]) -> str | None:
    """Where the order differs from that of loaders that sort the names."""
    moved = [name for name, other in zip(classes, sorted(classes), strict=True) if name != other]
    return f"Loaders that sort the class names number these differently: {some(moved, 10)}." if moved else None


def _number_note(listed: Lists) -> str | None:
    """How many numbers in train lists are not the class of the folder."""
    if not listed.classes:
        return None
    lines = [line for splits in listed.folds.values() for line in splits["train"] if line.number is not None]
    wrong = [line for line in lines if listed.classes.get(line.number or 0, "").lower() != line.folder.lower()]
    if not wrong:
        return None
    return (
        f"{len(wrong)} of {len(lines)} numbers in the train lists are not that of the folder's class (they count from "
        "1); the folder was taken."
    )
