"""The published lists of UCF101: `classInd.txt`, and `trainlist0k.txt` and `testlist0k.txt` of three folds."""

import re
from dataclasses import dataclass
from pathlib import Path

from awase.data.datasets.layout_files import entries
from awase.data.datasets.official_files import read_lines

_LINE = re.compile(r"(?P<folder>[^/]+)/(?P<video>[^/]+?)(\.\w+)?(\s+(?P<number>\d+))?")


@dataclass(frozen=True)
class Listed:
    """One line of a list: the class as its folder is written, the video, and the number of the class (train only)."""

    folder: str
    video: str
    number: int | None


@dataclass(frozen=True)
class Lists:
    """`folds[k][split]` are the lines of a list; `classes` is number (from 1) -> name, empty without its file."""

    folds: dict[int, dict[str, list[Listed]]]
    classes: dict[int, str]

    def videos(self) -> dict[str, Listed]:
        """Every listed video once, by its lower-case name, sorted."""
        lines = [line for fold in self.folds.values() for listed in fold.values() for line in listed]
        return {line.video.lower(): line for line in sorted(lines, key=lambda line: line.video.lower())}


def read_lists(folder: Path) -> Lists:
    """The lists in a folder, of the folds that have both a train and a test list.

    Raises `FileNotFoundError` where no fold has, and `ValueError` for a line that is not `Class/video.avi`, with or
    without a number after it.
    """
    files = entries(folder)
    folds: dict[int, dict[str, list[Listed]]] = {}
    for fold in (1, 2, 3):
        paths = {split: files.get(f"{split}list0{fold}.txt") for split in ("train", "test")}
        there = {split: path for split, path in paths.items() if path is not None}
        if len(there) == len(paths):
            folds[fold] = {split: [_parse(line, path) for line in read_lines(path)] for split, path in there.items()}
    if not folds:
        raise FileNotFoundError(f"{folder} has no fold of UCF101: looked for trainlist01.txt and testlist01.txt.")
    return Lists(folds, _read_classes(files.get("classind.txt")))


def _parse(line: str, path: Path) -> Listed:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"{path} has the line {line!r}; expected Class/v_Class_g01_c01.avi, with or without a number.")
    return Listed(match["folder"], match["video"], None if match["number"] is None else int(match["number"]))


def _read_classes(path: Path | None) -> dict[int, str]:
    numbers: dict[int, str] = {}
    for line in [] if path is None else read_lines(path):
        number, _, name = line.partition(" ")
        if not number.isdecimal() or not name.strip():
            raise ValueError(
                f"{path} has the line {line!r}; expected a number and a class, such as '1 ApplyEyeMakeup'."
            )
        numbers[int(number)] = name.strip()
    return dict(sorted(numbers.items()))
