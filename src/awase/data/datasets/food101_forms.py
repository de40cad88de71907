"""The lists of UPMC Food-101 in the three forms in which they are passed on."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from awase.data.datasets.layout_files import find, need, one_line, read_json
from awase.data.datasets.official_files import read_cells, read_lines
from awase.data.picture_folders import PICTURES

_HEADER = {
    "image": ("filename", "image_path", "image", "img", "file"),
    "text": ("title", "text", "caption"),
    "label": ("class", "label", "category"),
}


@dataclass(frozen=True)
class Listed:
    """One line of a list: the picture (a file name, or a path), its text (empty: none), class and split."""

    image: str
    text: str
    label: str
    split: str


@dataclass(frozen=True)
class Form:
    """A form: the files it is recognised by, and how they are read."""

    places: tuple[str, ...]
    read: Callable[[Path], list[Listed]]
    published: dict[str, int]


def class_of(image: str) -> str:
    """The class in a file name: what comes before the last underscore (`apple_pie_12.jpg`: `apple_pie`)."""
    return Path(image).stem.rpartition("_")[0]


def read_titles(root: Path) -> list[Listed]:
    """`texts/{train,test}_titles.csv`: file name, title, class, or other columns in the order that a header says."""
    listed = []
    for split in ("train", "test"):
        path = need(root, [f"texts/{split}_titles.csv", f"{split}_titles.csv"], f"titles of {split}")
        listed += _titles(path, split)
    return listed


def _titles(path: Path, split: str) -> list[Listed]:
    rows = read_cells(path)
    columns = {"image": 0, "text": 1, "label": 2}
    if rows and not any(Path(cell.strip()).suffix.lower() in PICTURES for cell in rows[0]):
        columns, rows = _columns(rows[0], path), rows[1:]
    width = max(columns.values()) + 1
    for number, row in enumerate(rows, start=1):
        if len(row) < width:
            raise ValueError(f"Row {number} of {path} has {len(row)} cells; expected file name, title and class.")
    return [_title(row, columns, width, split) for row in rows]


def _title(row: list[str], columns: dict[str, int], width: int, split: str) -> Listed:
    if len(row) > width == 3 and columns["text"] == 1:
        # A title with commas that was not quoted; cells have lost the spaces around them.
        row = [row[0], ", ".join(row[1:-1]), row[-1]]
    image = row[columns["image"]].strip()
    return Listed(image, one_line(row[columns["text"]]), row[columns["label"]].strip() or class_of(image), split)


def _columns(header: list[str], path: Path) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    found = {
        role: next((names.index(name) for name in accepted if name in names), None)
        for role, accepted in _HEADER.items()
    }
    there = {role: position for role, position in found.items() if position is not None}
    if len(there) < len(_HEADER):
        raise ValueError(
            f"The first row of {path} is neither a picture's file name nor a header of image, text and label: {header}."
        )
    return there


def read_prompts(root: Path) -> list[Listed]:
    """`split.json`, `text.json` (file name -> titles, of which the first is taken) and `class_idx.json`."""
    splits = read_json(need(root, ["split.json"], "split.json"))
    texts = read_json(need(root, ["text.json"], "text.json"))
    classes = read_json(need(root, ["class_idx.json"], "class_idx.json"))
    listed = [
        Listed(image, _first(texts.get(image)), class_of(image), split) for split in splits for image in splits[split]
    ]
    unknown = sorted({line.label for line in listed} - set(classes))
    if unknown:
        raise ValueError(f"split.json of {root} has the class {unknown[0]!r}, which class_idx.json does not have.")
    return listed


def _first(texts: list[str] | str | None) -> str:
    if texts is None or isinstance(texts, str):
        return one_line(texts or "")
    return next((one_line(text) for text in texts if text.strip()), "")


def read_json_lines(root: Path) -> list[Listed]:
    """`{train,dev,test}.jsonl` with `img`, `text` and `label` on every line."""
    listed = []
    for split in ("train", "dev", "test"):
        path = need(root, [f"{split}.jsonl"], f"{split}.jsonl")
        for number, line in enumerate(read_lines(path), start=1):
            try:
                record = json.loads(line)
                entry = Listed(record["img"], one_line(record["text"]), record["label"], split)
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise ValueError(f"Line {number} of {path} is no object with img, text and label: {error}.") from error
            listed.append(entry)
    return listed


FORMS: dict[str, Form] = {
    "kaggle": Form(
        ("texts/train_titles.csv", "train_titles.csv"), read_titles, {"train": 61_142 + 6_846, "test": 22_716}
    ),
    "prompts": Form(("split.json",), read_prompts, {"train": 61_142, "val": 6_846, "test": 22_716}),
    "mmbt": Form(("train.jsonl",), read_json_lines, {"train": 60_101, "val": 5_000, "test": 21_695}),
}
"""By the name of the option; the first that is found is taken. The sizes are those of `split.json` (its train and
validation together for `kaggle`) and, for `mmbt`, of its paper."""


def find_form(root: Path) -> str:
    """The name of the first form whose files are there; raises `FileNotFoundError` that names those looked for."""
    for name, form in FORMS.items():
        if find(root, form.places) is not None:
            return name
    places = ", ".join(form.places[0] for form in FORMS.values())
    raise FileNotFoundError(f"{root} has no list of UPMC Food-101: looked for {places}.")
