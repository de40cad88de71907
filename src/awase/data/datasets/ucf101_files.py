"""Where the frames and the optical flow of UCF101 lie, in the forms in which copies of it are passed on."""

from dataclasses import dataclass
from pathlib import Path

from awase.data.datasets.layout_files import find, listing
from awase.data.infer import VIDEOS
from awase.data.picture_folders import component_folders

VIDEO_PLACES = ("UCF-101", "UCF101", "videos", "jpegs_256", "rawframes", "frames")
PAIR_PLACES = (("tvl1_flow", "u", "v"), ("flow", "u", "v"), (".", "flow_u", "flow_v"))
FLOW_PLACES = ("flow", "rawframes")


@dataclass(frozen=True)
class VideoFiles:
    """Lower-case name of a video -> its file or folder. `place` is where others would be expected."""

    place: Path
    paths: dict[str, Path]

    def path(self, video: str, class_name: str) -> tuple[Path, bool]:
        """The file or folder of a video, or where it would lie, and whether it is there."""
        found = self.paths.get(video.lower())
        return (self._expected(video, class_name), False) if found is None else (found, True)

    def _expected(self, video: str, class_name: str) -> Path:
        """By the example of a video that is there: in its class or not, with the same ending."""
        example = next(iter(self.paths.values()))
        suffix = "" if example.is_dir() or component_folders(example) is not None else example.suffix
        by_class = example.parent != self.place
        return (self.place / class_name if by_class else self.place) / f"{video}{suffix}"


def find_videos(root: Path, place: str | None) -> VideoFiles:
    """The videos (`v_X.avi`), or frame folders (`v_X/`), of the place that is named, else of the first that has any.

    They lie in class folders or directly in the place. Raises `FileNotFoundError` where there are none.
    """
    if place is not None:
        named = _index(root / place, VIDEOS)
        if not named:
            raise FileNotFoundError(f"{root / place} (video) has neither v_*.avi nor folders v_*, also not by class.")
        return VideoFiles(root / place, named)
    for name in VIDEO_PLACES:
        folder = find(root, [name])
        paths = {} if folder is None else _index(folder, VIDEOS)
        if folder is not None and paths:
            return VideoFiles(folder, paths)
    # Folders of pictures directly below the root may be flow.
    films = {name: path for name, path in _index(root, VIDEOS).items() if path.suffix.lower() in VIDEOS}
    if films:
        return VideoFiles(root, films)
    raise FileNotFoundError(
        f"{root} has no videos of UCF101: looked for v_*.avi and folders v_* of pictures, by class or not, in "
        f"{', '.join(VIDEO_PLACES)} and in the folder itself; name another folder with the option video."
    )


def find_flow(root: Path, place: str | None) -> VideoFiles | None:
    """The optical flow of the place that is named, else of the first that has any; `None` where there is none.

    A path of flow is a folder, an .npy file, or names two folders: `tvl1_flow/{u,v}/v_X`. Raises `FileNotFoundError`
    where the named place has none.
    """
    if place is not None:
        named = _flow_of(root / place)
        if named is None:
            raise FileNotFoundError(f"{root / place} (flow) has no flow of UCF101: neither folders v_* nor v_*.npy.")
        return named
    for parent, *sides in PAIR_PLACES:
        folder = find(root, [parent])
        if folder is not None and all((folder / side).is_dir() for side in sides):
            return _flow_of(folder / f"{{{','.join(sides)}}}")
    for name in FLOW_PLACES:
        folder = find(root, [name])
        found = None if folder is None else _flow_of(folder)
        if found is not None:
            return found
    return None


def _flow_of(place: Path) -> VideoFiles | None:
    pair = component_folders(place)
    if pair is None:
        paths = _index(place, {".npy"})
        first = next(iter(paths.values()), None)
        return None if first is None or not _is_flow(first) else VideoFiles(place, paths)
    sides = [_index(side, set()) for side in pair]
    both = {
        name: place / path.relative_to(pair[0])
        for name, path in sides[0].items()
        if name in sides[1] and path.relative_to(pair[0]) == sides[1][name].relative_to(pair[1])
    }
    return VideoFiles(place, both) if both else None


def _is_flow(path: Path) -> bool:
    """Whether a file or folder is flow, not frames."""
    names = [child.name.lower() for child in listing(path)]
    return path.suffix == ".npy" or any(
        name in ("u", "x") or name.startswith(("flow_x_", "u_", "x_")) for name in names
    )


def _index(place: Path, suffixes: set[str]) -> dict[str, Path]:
    """Videos by lower-case name: folders `v_*`, and before them files `v_*` with one of the endings, in a folder and in
    its folders."""
    found: dict[str, Path] = {}
    inside = [path for path in listing(place, folders=True) if not _is_video(path.name)]
    for folder in (place, *inside):
        for path in listing(folder, folders=True):
            if _is_video(path.name):
                found.setdefault(path.name.lower(), path)
        for path in listing(folder, folders=False):
            if _is_video(path.name) and path.suffix.lower() in suffixes:
                found[path.stem.lower()] = path
    return found


def _is_video(name: str) -> bool:
    return name.lower().startswith("v_")
