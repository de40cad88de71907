"""The forms in which lists of Kinetics-Sounds come: Kinetics' own csv, numbered lists, and folders named by class."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from awase.data.datasets.kinetics_sounds_classes import spelt
from awase.data.datasets.official_files import first_line, read_cells, read_lines
from awase.data.splits import SYNONYMS, split_name

FORMS = ("ogm_ge", "balance_benchmark", "kinetics400")
_CLIP = re.compile(r"([A-Za-z0-9_-]{11})_(\d+)(?:_(\d+))?")
_KINETICS_COLUMNS = {"label", "youtube_id", "time_start", "time_end"}


@dataclass(frozen=True)
class ListedClip:
    """One clip of a list: seconds from the beginning of the video on YouTube, and its split where the list says it."""

    youtube_id: str
    start_s: int
    label: str
    split: str | None
    end_s: int | None = None

    @property
    def key(self) -> str:
        """What its file is found by, whether the seconds are padded with zeros or not."""
        return f"{self.youtube_id}_{self.start_s}"


def clip_key(stem: str) -> str | None:
    """Returns the key of a file's stem, `<id>_<start>` or `<id>_<start>_<end>`; `None` of any other.

    >>> clip_key("-3Mwkq-7TV4_000002_000012"), clip_key("-3Mwkq-7TV4_2"), clip_key("poster")
    ('-3Mwkq-7TV4_2', '-3Mwkq-7TV4_2', None)
    """
    match = _CLIP.fullmatch(stem)
    return None if match is None else f"{match[1]}_{int(match[2])}"


def form_of(path: Path) -> str | None:
    """Returns the form of a text file by its first line; `None` where it is no list of clips."""
    line = first_line(path)
    cells = [cell.strip().strip('"').lower() for cell in line.split(",")]
    if set(cells) >= _KINETICS_COLUMNS:
        return "kinetics400"
    if len(cells) == 3 and _CLIP.fullmatch(cells[0]) and cells[2].isdecimal():
        return "ogm_ge"
    words = line.split()
    if len(words) > 1 and "," not in line and clip_key(_bare(words[0])) and words[-1].isdecimal():
        return "balance_benchmark"
    return None


def find_lists(files: Iterable[Path]) -> dict[str, dict[str, Path]]:
    """Returns form -> split -> list, the first of each in `files`; the split is the word in the file's name.

    A list of Kinetics-400 in one file, without such a word, is named `all`.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in files:
        if path.suffix.lower() not in (".txt", ".csv"):
            continue
        form, split = form_of(path), _split_in(re.split(r"[^a-z]+", path.stem.lower()))
        if form is not None and (split is not None or form == "kinetics400"):
            found.setdefault(form, {}).setdefault(split or "all", path)
    return found


def read_list(form: str, split: str, path: Path, classes: Sequence[str]) -> list[ListedClip]:
    """Returns the clips of one list; of a list of Kinetics-400 those of the classes.

    Raises `ValueError` for a line that is not of the form and for a number that no class has.
    """
    if form == "kinetics400":
        return _read_kinetics(path, split, classes)
    rows = read_cells(path) if form == "ogm_ge" else [line.split() for line in read_lines(path)]
    return [_numbered(row, split, path, classes) for row in rows]


def clips_in_folders(files: Iterable[Path], root: Path, classes: Sequence[str]) -> list[ListedClip]:
    """Returns the clips that lie in folders named by class, with the split that a folder above is named by."""
    clips: dict[tuple[str, str], ListedClip] = {}
    for path in files:
        match, label = _CLIP.fullmatch(path.stem), spelt(path.parent.name)
        if match is not None and label in classes:
            split = _split_in(part.lower() for part in path.relative_to(root).parts[:-2])
            clip = ListedClip(match[1], int(match[2]), label, split)
            clips.setdefault((clip.key, label), clip)
    return list(clips.values())


def _split_in(words: Iterable[str]) -> str | None:
    return next((SYNONYMS[word] for word in words if word in SYNONYMS), None)


def _bare(name: str) -> str:
    """A file name without its ending, if it has one."""
    return re.sub(r"\.[A-Za-z0-9]{2,4}$", "", name)


def _numbered(cells: list[str], split: str, path: Path, classes: Sequence[str]) -> ListedClip:
    match = _CLIP.fullmatch(_bare(cells[0]))
    if match is None or len(cells) < 2 or not cells[-1].isdecimal():
        raise ValueError(f"{path} has the line {cells}; a line names a clip, <id>_<start>, and ends in a class number.")
    number = int(cells[-1])
    if number >= len(classes):
        raise ValueError(
            f"{path} has the class number {number}, but there are {len(classes)} classes, numbered from 0; name those "
            "that the numbers mean in the option classes."
        )
    return ListedClip(match[1], int(match[2]), classes[number], split, None if match[3] is None else int(match[3]))


def _read_kinetics(path: Path, split: str, classes: Sequence[str]) -> list[ListedClip]:
    header, *rows = read_cells(path)
    column = {name.lower(): place for place, name in enumerate(header)}
    clips = []
    for row in rows:
        try:
            label = spelt(row[column["label"]])
            if label in classes:
                own = row[column["split"]] if "split" in column else split
                start, end = (int(float(row[column[name]])) for name in ("time_start", "time_end"))
                clips.append(ListedClip(row[column["youtube_id"]], start, label, split_name(own), end))
        except (IndexError, ValueError) as error:
            raise ValueError(f"{path} has the row {row}, which does not fit its header {header} ({error}).") from error
    return clips
