"""The class lists of Kinetics-Sounds, and one spelling for the names in them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from awase.data.datasets.official_files import read_lines, some

CLASSES_31 = (
    *("blowing nose", "blowing out candles", "bowling", "chopping wood", "dribbling basketball", "laughing"),
    *("mowing lawn", "playing accordion", "playing bagpipes", "playing bass guitar", "playing clarinet"),
    *("playing drums", "playing guitar", "playing harmonica", "playing keyboard", "playing organ", "playing piano"),
    *("playing saxophone", "playing trombone", "playing trumpet", "playing violin", "playing xylophone"),
    *("ripping paper", "shoveling snow", "shuffling cards", "singing", "stomping grapes", "tap dancing"),
    *("tapping guitar", "tapping pen", "tickling"),
)
"""The names of the paper that Kinetics-400 has, as Kinetics-400 spells them, in alphabetical order."""
CLASSES_34 = tuple(sorted((*CLASSES_31, "fingerpicking", "patting", "typing")))
"""All 34 of the paper (arXiv 1705.08168, appendix A.1); the three more are not in the released Kinetics-400."""
BUILT_IN = {"31": CLASSES_31, "34": CLASSES_34}

_OTHER_NAMES = {
    "blowing out": "blowing out candles",
    "dribbling ball": "dribbling basketball",
    "mowing the lawn by pushing lawnmower": "mowing lawn",
    "stomping": "stomping grapes",
}


def spelt(name: str) -> str:
    """Returns the name in lower case, spaces for underscores, as Kinetics-400 calls the class.

    >>> spelt("Dribbling_ball")
    'dribbling basketball'
    """
    plain = " ".join(name.strip().strip("\"'").replace("_", " ").lower().split())
    return _OTHER_NAMES.get(plain, plain)


def chosen_classes(classes: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Returns the classes in order: of a built-in list (`31`, `34`), of a file with one per line, or those given.

    A text may also hold names with commas between them. Raises `ValueError` for a text that is none of these, for
    fewer than two classes and for one that is there twice.
    """
    names = [spelt(name) for name in _names(classes)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or len(names) < 2:
        what = f"{some(twice)} twice" if twice else f"{len(names)} classes"
        raise ValueError(f"The classes of Kinetics-Sounds must be two or more, each once; there are {what}.")
    return tuple(names)


def _names(classes: str | Path | Sequence[str]) -> Iterable[str]:
    if not isinstance(classes, str | Path):
        return classes
    text = str(classes)
    if text in BUILT_IN:
        return BUILT_IN[text]
    if Path(text).is_file():
        return read_lines(Path(text))
    if "," in text:
        return [name for name in text.split(",") if name.strip()]
    raise ValueError(
        f"classes = {text!r} is refused; use {', '.join(BUILT_IN)}, a file with one class per line, or names with "
        "commas between them."
    )
