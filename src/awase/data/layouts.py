"""The data sets whose official layout can be read, and their options."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from awase.data.datasets.layout import Layout

Reader = Callable[..., Layout]


def _ave(root: Path, **options: Any) -> Layout:
    """AVE, 28 audio-visual events: the unpacked zip, its three lists beside the folder AVE of mp4."""
    return _reader("ave")(root, **options)


def _kinetics_sounds(root: Path, **options: Any) -> Layout:
    """Kinetics-Sounds, 31 or 34 classes of Kinetics-400: mp4 with numbered lists, Kinetics' csv, or class folders."""
    return _reader("kinetics_sounds")(root, **options)


def _cremad(root: Path, **options: Any) -> Layout:
    """CREMA-D, six emotions: the folders AudioWAV and VideoFlash, by actor or with the OGM-GE lists."""
    return _reader("cremad")(root, **options)


def _food101(root: Path, **options: Any) -> Layout:
    """UPMC Food-101, 101 dishes: pictures, and the titles or texts of their pages."""
    return _reader("food101")(root, **options)


def _mmimdb(root: Path, **options: Any) -> Layout:
    """MM-IMDb, 23 genres, several per film: posters and plots."""
    return _reader("mmimdb")(root, **options)


def _ucf101(root: Path, **options: Any) -> Layout:
    """UCF101, 101 actions: films or frames, and optical flow, in three published folds."""
    return _reader("ucf101")(root, **options)


LAYOUTS: dict[str, Reader] = {
    "ave": _ave,
    "kinetics_sounds": _kinetics_sounds,
    "cremad": _cremad,
    "food101": _food101,
    "mmimdb": _mmimdb,
    "ucf101": _ucf101,
}


def read_layout(name: str, root: Path, options: Mapping[str, Any]) -> Layout:
    """Returns the layout that lies in `root`; options may be text, as a command line gives them.

    Raises `KeyError` for an unknown name or option, with those there are, `ValueError` for a value that an option
    cannot have, and what the reader raises: `FileNotFoundError` where `root` is not the data set.
    """
    types = option_types(name)
    for option in options:
        if option not in types:
            raise KeyError(f"{name} has no option {option!r}; valid names: {', '.join(types) or 'none'}.")
    return LAYOUTS[name](root, **{option: _typed(option, value, types[option]) for option, value in options.items()})


def option_types(name: str) -> dict[str, Any]:
    """Returns option -> type, of the reader of this name; raises `KeyError` for an unknown one."""
    if name not in LAYOUTS:
        raise KeyError(f"There is no layout {name!r} to prepare; valid names: {', '.join(LAYOUTS)}.")
    reader = inspect.unwrap(_reader(name))
    hints = get_type_hints(reader)
    parameters = inspect.signature(reader).parameters.values()
    return {
        parameter.name: hints[parameter.name] for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY
    }


def _reader(name: str) -> Reader:
    """The function `read` of the module named like the data set, imported when it is first used."""
    reader: Reader = importlib.import_module(f"awase.data.datasets.{name}").read
    return reader


def _typed(option: str, value: Any, kind: Any) -> Any:
    """The value as the option's type; a text is read as that type."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{option} = {value!r} is refused: {error.errors()[0]['msg']}.") from error
