"""Folders of numbered pictures: the frames of a video, and the two components of optical flow."""

import re
from pathlib import Path

from awase.data.source import MediaError

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
_PAIR = re.compile(r"\{([^{},/]+),([^{},/]+)\}")
_FLOW = re.compile(r"(flow_)?[uvxy]_\d+\.")


def component_folders(path: Path) -> tuple[Path, Path] | None:
    """The horizontal and the vertical folder that a path like `tvl1_flow/{u,v}/v_X` names; `None` for other paths.

    Every pair of braces in the path takes the same side.
    """
    text = str(path)
    if _PAIR.search(text) is None:
        return None
    return Path(_PAIR.sub(r"\1", text)), Path(_PAIR.sub(r"\2", text))


def frame_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their numbers, without those named as flow (`flow_x_1`, `u_1`, ...).

    Raises `MediaError` where there is none.
    """
    found = [path for path in _pictures(folder) if _FLOW.match(path.name) is None]
    if not found:
        raise MediaError("is a folder without frame pictures")
    return found


def flow_pictures(path: Path) -> tuple[list[Path], list[Path]]:
    """Horizontal and vertical flow pictures, in the order of their numbers.

    Of a folder: those in its `u/` and `v/` (or `x/` and `y/`), or its `flow_x_*` and `flow_y_*` (also `u_*`, `x_*`);
    of `.../{u,v}/...`: those in the one and in the other folder. Raises `MediaError` where there is none, and where the
    two differ in their number or, being numbered, in their numbers.
    """
    pair = component_folders(path)
    if pair is None:
        horizontal, vertical = _component(path, "u", "x"), _component(path, "v", "y")
    else:
        _check_there(pair)
        horizontal, vertical = _pictures(pair[0]), _pictures(pair[1])
    if not horizontal or len(horizontal) != len(vertical):
        raise MediaError(f"has {len(horizontal)} horizontal and {len(vertical)} vertical flow pictures")
    for one, other in zip(horizontal, vertical, strict=True):
        if _number(one) != _number(other):
            raise MediaError(f"pairs {one.name!r} with {other.name!r}: the flow pictures have other numbers")
    return horizontal, vertical


def _check_there(pair: tuple[Path, Path]) -> None:
    if not any(folder.is_dir() for folder in pair):
        raise MediaError("no such folders")


def _component(folder: Path, *names: str) -> list[Path]:
    for name in names:
        inside = _pictures(folder / name)
        beside = [path for path in _pictures(folder) if re.match(rf"(flow_)?{name}_", path.name)]
        if inside or beside:
            return inside or beside
    return []


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith("."))
    return sorted(found, key=lambda path: (_number(path), path.name))


def _number(path: Path) -> int:
    """The last number in the name, so that frame 10 comes after frame 9 however they are written; -1 without one."""
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else -1
