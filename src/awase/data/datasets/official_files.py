"""Label files and media in folders that others made: byte order marks, CRLF, upper and lower case, empty files."""

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LFS_POINTER = b"version https://git-lfs"
_POINTER_BYTES = 1024


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a text file without their ends and surrounding spaces; empty lines are left out.

    UTF-8 with or without a byte order mark; LF, CRLF or CR; the last line may have no end. Raises `ValueError` for a
    file that is not UTF-8.
    """
    text = _read(path).replace("\r\n", "\n").replace("\r", "\n")
    return [line.strip() for line in text.split("\n") if line.strip()]


def read_cells(path: Path, delimiter: str = ",") -> list[list[str]]:
    """Returns the rows of a separated file, cells without surrounding spaces; read as `read_lines` reads."""
    rows = csv.reader(io.StringIO(_read(path), newline=""), delimiter=delimiter)
    return [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]


def first_line(path: Path) -> str:
    """Returns the first line that is not empty, of what may not be text at all; `""` where there is none."""
    with path.open("rb") as file:
        beginning = file.read(4096).decode("utf-8-sig", errors="replace")
    return next((line.strip() for line in beginning.splitlines() if line.strip()), "")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"The label file {path} is not UTF-8 text ({error}); save it as UTF-8.") from error


def files_below(root: Path) -> tuple[Path, ...]:
    """Returns all files below a folder, links followed, the less deep first, then sorted; hidden ones are left out.

    Raises `FileNotFoundError` where there is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}; name the folder of the data set.")
    found, seen = list[Path](), set[str]()
    for parent, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return tuple(sorted(found, key=lambda path: (len(path.parts), path)))


def named(files: Iterable[Path], name: str) -> Path | None:
    """Returns the first file of that name, in upper or lower case."""
    return next((path for path in files if path.name.lower() == name.lower()), None)


class MediaFiles:
    """Media files by the key of their stem: exactly, else in upper or lower case where only one file has that name.

    Of files with the same key the earlier ending in `suffixes` comes first, then the earlier in `paths`; `doubled` are
    the keys for which several files with one ending are there.
    """

    def __init__(
        self, paths: Iterable[Path], suffixes: Sequence[str], key: Callable[[str], str | None] = lambda stem: stem
    ) -> None:
        order = {suffix: place for place, suffix in enumerate(suffixes)}
        media = [(key(path.stem), path) for path in paths if path.suffix.lower() in order]
        self._paths: dict[str, Path] = {}
        for name, path in sorted(media, key=lambda entry: order[entry[1].suffix.lower()]):
            if name is not None:
                self._paths.setdefault(name, path)
        folded = Counter(name.lower() for name in self._paths)
        self._folded = {name.lower(): name for name in self._paths if folded[name.lower()] == 1}
        endings = Counter((name, path.suffix.lower()) for name, path in media if name is not None)
        self.doubled = tuple(sorted({name for (name, _), count in endings.items() if count > 1}))

    def __len__(self) -> int:
        return len(self._paths)

    def keys(self) -> tuple[str, ...]:
        """The keys, sorted."""
        return tuple(sorted(self._paths))

    def find(self, key: str) -> Path | None:
        """The file of a key."""
        name = key if key in self._paths else self._folded.get(key.lower())
        return None if name is None else self._paths[name]

    def notes(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Sentences on files that lie there more than once and on those that none of the wanted keys means."""
        known = {key.lower() for key in wanted}
        unlisted = [key for key in self.keys() if key.lower() not in known]
        twice = (f"{len(self.doubled)} media files lie there more than once; the first by path was taken.",)
        others = (f"{len(unlisted)} media files are in no list and were left out: {some(unlisted)}.",)
        return (*twice[: len(self.doubled)], *others[: len(unlisted)])


@dataclass(frozen=True)
class Located:
    """Row -> its file, there or not; row -> why there is none that can be used."""

    paths: Mapping[str, Path]
    absent: Mapping[str, str]

    def notes(self, column: str) -> tuple[str, ...]:
        """A sentence on the rows without a file, if there are any."""
        if not self.absent:
            return ()
        reasons = ", ".join(f"{reason}: {count}" for reason, count in Counter(self.absent.values()).most_common())
        return (f"{len(self.absent)} of {len(self.paths)} rows have no usable file for {column!r} ({reasons}).",)


def locate(wanted: Mapping[str, str], files: MediaFiles, expected: Callable[[str], Path]) -> Located:
    """Returns the file of every row; `wanted` maps row to key, `expected` a key to where its file should be."""
    paths, absent = dict[str, Path](), dict[str, str]()
    for row, key in wanted.items():
        path = files.find(key)
        paths[row] = expected(key) if path is None else path
        reason = "not there" if path is None else unusable(path)
        if reason is not None:
            absent[row] = reason
    return Located(paths, absent)


def unusable(path: Path) -> str | None:
    """Returns why a file that is there holds no media: it is empty, or git-lfs has left its pointer."""
    size = path.stat().st_size
    if size == 0:
        return "empty"
    if size > _POINTER_BYTES:
        return None
    is_pointer = path.read_bytes().startswith(_LFS_POINTER)
    return "a git-lfs pointer; run `git lfs pull`" if is_pointer else None


def unique_ids(ids: Sequence[str]) -> tuple[str, ...]:
    """Returns the ids in order, the second of one name with `_2` at its end, the third with `_3`."""
    seen, taken, result = Counter[str](), set(ids), list[str]()
    for name in ids:
        seen[name] += 1
        new = name if seen[name] == 1 else f"{name}_{seen[name]}"
        while seen[name] > 1 and new in taken:
            seen[name] += 1
            new = f"{name}_{seen[name]}"
        taken.add(new)
        result.append(new)
    return tuple(result)


def some(names: Sequence[str], number: int = 5) -> str:
    """Returns the first names, and how many more there are."""
    more = f" and {len(names) - number} more" if len(names) > number else ""
    return ", ".join(names[:number]) + more


def check_choice(option: str, value: str, allowed: Sequence[str]) -> None:
    """Raises `ValueError` for a value of an option that is not one of the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{option} = {value!r} is refused; use one of {', '.join(allowed)}.")
