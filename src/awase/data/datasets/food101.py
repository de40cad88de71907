"""UPMC Food-101: pictures of dishes found on the web, with the title or the text of the page."""

import os
from dataclasses import dataclass
from pathlib import Path

from awase.config import ImageInput, TextInput
from awase.data.datasets.food101_forms import FORMS, Listed, find_form
from awase.data.datasets.layout import Layout, LayoutRow
from awase.data.datasets.layout_files import find, listing, one_line
from awase.data.datasets.official_files import check_choice, some
from awase.data.picture_folders import PICTURES
from awase.data.splits import split_name

TEXTS = ("title", "page")


def read(root: Path, *, form: str = "auto", text: str = "title") -> Layout:
    """Every picture with its text, whether both are there or one.

    `form` says where the lists are: `kaggle` (`texts/{train,test}_titles.csv`), `prompts` (`split.json`, `text.json`,
    `class_idx.json`), `mmbt` (`{train,dev,test}.jsonl`); `auto` takes the first of these that is there. Pictures lie
    below `images/`. `text` is the `title` of the list, or the whole `page` in `texts_txt/<class>/<class>_<n>.txt`.
    Pictures that no list of the Kaggle form has are rows without text. The classes are the names, sorted. Raises
    `FileNotFoundError` where no list is found and `ValueError` for other options and broken lists.
    """
    check_choice("form", form, ("auto", *FORMS))
    check_choice("text", text, TEXTS)
    name = find_form(root) if form == "auto" else form
    pictures = _Pictures.below(root)
    listed, notes = _once(FORMS[name].read(root))
    listed += _unlisted(pictures, listed, notes, keep=name == "kaggle")
    if text == "page":
        listed = _with_pages(root, listed)
    rows = [_row(root, line, pictures) for line in listed]
    return Layout(
        name="food101",
        rows=tuple(sorted(rows, key=lambda row: row.id)),
        classes=tuple(sorted({line.label for line in listed})),
        class_order="the names, sorted",
        multi_label=False,
        inputs={
            "image": ImageInput(column="image"),
            "text": TextInput(column="text", max_tokens=64 if text == "title" else 512),
        },
        default_splitting="published",
        published_counts={"published": FORMS[name].published},
        absent={
            "image": tuple(sorted(_id(line) for line in listed if pictures.path(line) is None)),
            "text": tuple(sorted(_id(line) for line in listed if not line.text)),
        },
        notes=(*notes, *_about(name)),
        facts={"form": name, "text": text},
    )


@dataclass(frozen=True)
class _Pictures:
    """The pictures below `images/`, by lower-case file name."""

    root: Path
    paths: dict[str, list[Path]]

    @classmethod
    def below(cls, root: Path) -> "_Pictures":
        """All pictures; the first by path comes first where two have one name."""
        found: dict[str, list[Path]] = {}
        folder = find(root, ["images"])
        for parent, folders, names in os.walk(folder) if folder is not None else ():
            folders.sort()
            for name in sorted(names):
                if Path(name).suffix.lower() in PICTURES and not name.startswith("."):
                    found.setdefault(name.lower(), []).append(Path(parent) / name)
        return cls(root, found)

    def path(self, line: Listed) -> Path | None:
        """The picture of a line: by its path, else by its name, of its own split where there are two."""
        if "/" in line.image and (self.root / line.image).is_file():
            return self.root / line.image
        named = self.paths.get(Path(line.image).name.lower(), [])
        own = [path for path in named if line.split in path.relative_to(self.root).parts]
        return next(iter(own or named), None)


def _id(line: Listed) -> str:
    return Path(line.image).stem


def _row(root: Path, line: Listed, pictures: _Pictures) -> LayoutRow:
    expected = root / (line.image if "/" in line.image else f"images/{line.split}/{line.label}/{line.image}")
    return LayoutRow(
        id=_id(line),
        labels=(line.label,),
        files={"image": pictures.path(line) or expected},
        texts={"text": line.text},
        splits={"published": split_name(line.split)},
    )


def _once(listed: list[Listed]) -> tuple[list[Listed], list[str]]:
    """Every picture once: of lines with one file name, one in test is kept before others, then the first."""
    kept: dict[str, Listed] = {}
    for line in sorted(listed, key=lambda line: split_name(line.split) != "test"):
        kept.setdefault(_id(line).lower(), line)
    twice = len(listed) - len(kept)
    note = f"{twice} lines name a picture that another line names; one of each is kept, that of test where it has one."
    return list(kept.values()), [note] if twice else []


def _unlisted(pictures: _Pictures, listed: list[Listed], notes: list[str], keep: bool) -> list[Listed]:
    """The pictures that no line names, as lines without text where their folders say split and class."""
    known = {_id(line).lower() for line in listed}
    extra = [paths[0] for paths in pictures.paths.values() if paths[0].stem.lower() not in known]
    lines = [
        Listed(path.name, "", path.parent.name, path.parent.parent.name)
        for path in extra
        if keep and path.parent.parent.name in ("train", "test")
    ]
    if lines:
        notes.append(f"{len(lines)} pictures have no title; they stay, without text.")
    if len(extra) > len(lines):
        named = {line.image for line in lines}
        others = sorted(path.name for path in extra if path.name not in named)
        notes.append(f"{len(others)} pictures are in no list and were left out: {some(others)}.")
    return lines


def _with_pages(root: Path, listed: list[Listed]) -> list[Listed]:
    """The lines with the text of their pages, bytes that are not UTF-8 replaced; without a page, no text."""
    folder = find(root, ["texts_txt"])
    if folder is None:
        raise FileNotFoundError(f"{root} has no texts_txt/, which text = 'page' needs; use text = 'title'.")
    pages = {path.stem.lower(): path for place in listing(folder, folders=True) for path in listing(place)}
    return [Listed(line.image, _page(pages.get(_id(line).lower())), line.label, line.split) for line in listed]


def _page(path: Path | None) -> str:
    return "" if path is None else one_line(path.read_bytes().decode("utf-8-sig", errors="replace"))


def _about(form: str) -> list[str]:
    if form == "kaggle":
        return ["No validation split is published: it is carved out of train when the data is opened."]
    if form == "prompts":
        return ["class_idx.json numbers the classes in another order; the sorted names are used."]
    return ["The validation of this form was drawn without a fixed seed: other copies have another."]
