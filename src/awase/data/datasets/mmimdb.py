"""MM-IMDb: posters and plots of films, with their genres."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awase.config import ImageInput, TextInput
from awase.data.datasets.layout import Layout, LayoutRow
from awase.data.datasets.layout_files import find, listing, need, one_line, read_json
from awase.data.datasets.official_files import check_choice, some
from awase.data.picture_folders import PICTURES
from awase.data.splits import split_name

GENRES = (
    *("Drama", "Comedy", "Romance", "Thriller", "Crime", "Action", "Adventure", "Horror", "Documentary", "Mystery"),
    *("Sci-Fi", "Fantasy", "Family", "Biography", "War", "History", "Music", "Animation", "Musical", "Western"),
    *("Sport", "Short", "Film-Noir"),
)
PLOTS = ("longest", "first", "all")
PUBLISHED = {"train": 15_552, "val": 2_608, "test": 7_799}
WITHOUT_NEWS = {"train": 15_513, "val": 2_599, "test": 7_779}
_FILMS = ("dataset", "labels", "mmimdb/dataset", "mmimdb/labels")
_POSTERS = ("dataset", "images", "mmimdb/dataset", "mmimdb/images")


@dataclass(frozen=True)
class _Film:
    """A film of the split file; its genres are `None` where it has no JSON file."""

    id: str
    split: str
    genres: tuple[str, ...] | None
    text: str
    poster: Path
    has_poster: bool

    @property
    def labels(self) -> tuple[str, ...]:
        """Its genres among the 23, in their order."""
        return tuple(name for name in GENRES if name in (self.genres or ()))


def read(root: Path, *, plot: str = "longest", drop_news: bool = False) -> Layout:
    """The films of `split.json`, each with one or more of 23 genres.

    Looks below `root` (or `root/mmimdb`) for `split.json` and for `dataset/<number>.json` and `.jpeg`, or `labels/` and
    `images/`; numbers are compared as numbers, whatever their leading zeros. `plot` is which of a film's plots is its
    text: the `longest`, the `first`, or `all` of them; without plots it is the plot outline. Other genres (News, Adult,
    Talk-Show, Reality-TV) are no labels; they are counted. `drop_news` removes the films with News, as some comparisons
    do. A film without its JSON file has unknown genres and is in no split; one without a poster stays. Raises
    `FileNotFoundError` where the files are not found and `ValueError` for other options.
    """
    check_choice("plot", plot, PLOTS)
    if not isinstance(drop_news, bool):
        raise ValueError(f"drop_news = {drop_news!r} is refused; use true or false.")
    split_file = need(root, ["split.json", "mmimdb/split.json"], "split.json")
    _, documents = _numbered(root, _FILMS, {".json"}, "folder of films with <number>.json")
    place, posters = _numbered(root, _POSTERS, PICTURES, "folder of posters <number>.jpeg")
    films = []
    for split, names in _read_split(split_file).items():
        for name in names:
            genres, text = _read_film(documents.get(int(name)), plot)
            poster = posters.get(int(name))
            films.append(_Film(name, split_name(split), genres, text, poster or place / f"{name}.jpeg", bool(poster)))
    kept = [film for film in films if not (drop_news and "News" in (film.genres or ()))]
    return Layout(
        name="mmimdb",
        rows=tuple(_row(film) for film in kept),
        classes=GENRES,
        class_order="how often they occur, the most frequent first, as published",
        multi_label=True,
        inputs={"image": ImageInput(column="image"), "text": TextInput(column="text", max_tokens=512)},
        default_splitting="published",
        published_counts={"published": WITHOUT_NEWS if drop_news else PUBLISHED},
        absent={
            "image": tuple(film.id for film in kept if not film.has_poster),
            "text": tuple(film.id for film in kept if not film.text),
        },
        notes=tuple(_notes(kept, len(films) - len(kept), set(documents) - {int(film.id) for film in films})),
        facts={"other_genres": _other_genres(kept), "plot": plot, "without_news": len(films) - len(kept)},
    )


def _read_split(path: Path) -> dict[str, list[str]]:
    """Split -> numbers of films, as text."""
    splits = {split: [str(name) for name in names] for split, names in read_json(path).items()}
    odd = [name for names in splits.values() for name in names if not name.isdecimal()]
    if odd:
        raise ValueError(f"{path} names the film {odd[0]!r}; films are numbers such as '0133093'.")
    return splits


def _numbered(root: Path, places: Sequence[str], suffixes: set[str], what: str) -> tuple[Path, dict[int, Path]]:
    """The first of the places that has files with such an ending, and those files by the number that is their name."""
    for place in places:
        folder = find(root, [place])
        paths = [] if folder is None else listing(folder, folders=False)
        files = {int(path.stem): path for path in paths if path.suffix.lower() in suffixes and path.stem.isdecimal()}
        if folder is not None and files:
            return folder, files
    raise FileNotFoundError(f"{root} has no {what}: looked in {', '.join(places)}.")


def _read_film(path: Path | None, plot: str) -> tuple[tuple[str, ...] | None, str]:
    """Genres and text."""
    if path is None:
        return None, ""
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("genres"), list):
        raise ValueError(f"{path} is no film: expected a JSON object with a list of genres.")
    plots = [one_line(text) for text in _listed(document.get("plot")) or _listed(document.get("plot outline"))]
    chosen = {"longest": lambda: max(plots, key=len), "first": lambda: plots[0], "all": lambda: " ".join(plots)}
    return tuple(document["genres"]), chosen[plot]() if plots else ""


def _listed(value: Any) -> list[str]:
    """The texts that are not empty, of a list or of one text."""
    return [text for text in ([value] if isinstance(value, str) else value or []) if text.strip()]


def _row(film: _Film) -> LayoutRow:
    return LayoutRow(
        id=film.id,
        labels=film.labels,
        files={"image": film.poster},
        texts={"text": film.text},
        splits={"published": None if film.genres is None else film.split},
    )


def _other_genres(films: list[_Film]) -> dict[str, int]:
    """How many films have each genre that is no label."""
    return dict(Counter(name for film in films for name in film.genres or () if name not in GENRES).most_common())


def _notes(films: list[_Film], without_news: int, extra: set[int]) -> Iterator[str]:
    others = _other_genres(films)
    if others:
        yield "Genres that are no labels: " + ", ".join(f"{name} ({count})" for name, count in others.items()) + "."
    if without_news:
        yield f"{without_news} films with the genre News were removed."
    unlabelled = [film.id for film in films if film.genres is not None and not film.labels]
    if unlabelled:
        yield f"{len(unlabelled)} films have none of the 23 genres and stay, without label: {some(unlabelled)}."
    unknown = [film.id for film in films if film.genres is None]
    if unknown:
        yield f"{len(unknown)} films have no JSON file, so no known genre; they are in no split: {some(unknown)}."
    if extra:
        yield f"{len(extra)} films are in no split of split.json and were left out: {some(sorted(map(str, extra)))}."
