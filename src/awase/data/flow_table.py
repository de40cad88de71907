"""Optical flow of every film that a table names, as often interrupted as need be."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from awase.config import DataConfig, VideoInput
from awase.data.flow import check_settings, compute_flow, optical_flow
from awase.data.manifest import ManifestSource
from awase.data.media import Clip
from awase.data.ordered import ordered_map
from awase.data.source import MediaError
from awase.data.store import Progress
from awase.files import write_text

FORMS = ("jpg", "npy")
FORMAT_VERSION = 1
SETTINGS_NAME = "flow.json"


@dataclass(frozen=True)
class FlowSettings:
    """What all flow in one folder has in common; as in `compute_flow`, and `form`: pictures (`jpg`) or `npy`."""

    method: str = "dis"
    bound_px: float = 20.0
    short_side: int | None = None
    form: str = "jpg"

    def __post_init__(self) -> None:
        """Raises `ValueError` for settings there are not."""
        check_settings(self.method, self.bound_px, self.short_side)
        if self.form not in FORMS:
            raise ValueError(f"form = {self.form!r} is refused; use one of {', '.join(FORMS)}.")


@dataclass(frozen=True)
class Film:
    """One row: its id, its film (`None`: the cell is empty), the part that is meant, and where its flow goes."""

    id: str
    path: Path | None
    clip: Clip
    out: Path


def compute_table_flow(
    films: list[Film], folder: Path, settings: FlowSettings, *, workers: int = 1, progress: Progress | None = None
) -> dict[str, Any]:
    """Counts of the films whose flow was `computed` and was there before (`skipped`), and `broken` ones with reasons.

    The flow of row X is `folder/X/` or `folder/X.npy`, there whole or not at all; a second call computes only what is
    not there yet. `workers` threads each compute one film. Raises `ValueError` where the folder has flow of other
    settings, and `ModuleNotFoundError` without OpenCV.
    """
    if workers < 1:
        raise ValueError(f"workers = {workers} is refused; it is a number of threads, 1 or more.")
    optical_flow(settings.method)  # says at once what is not installed
    _claim(folder, settings)
    computed, skipped, broken = 0, 0, []
    with _one_thread_each():
        results = ordered_map(lambda film: _compute(film, settings), films, workers, workers + 1)
        for number, (film, outcome) in enumerate(zip(films, results, strict=True), start=1):
            computed += outcome == "computed"
            skipped += outcome == "skipped"
            if outcome not in ("computed", "skipped"):
                broken.append({"id": film.id, "reason": outcome})
            if progress is not None:
                progress("flow", number, len(films))
    return {"films": len(films), "computed": computed, "skipped": skipped, "broken": broken}


def films_of(
    manifest: Path, column: str, folder: Path, form: str, *, start: str | None = None, end: str | None = None
) -> list[Film]:
    """The films in a column of a table; `start` and `end` are its columns of seconds, if it has any.

    Raises `ValueError` for a column that is not there, and for ids that would be one file name.
    """
    source = ManifestSource(
        DataConfig(
            manifest=manifest,
            inputs={"video": VideoInput(column=column)},
            label=(),
            split_column=None,
            start_column=start,
            end_column=end,
        )
    )
    suffix = ".npy" if form == "npy" else ""
    names = [re.sub(r"[^\w.+-]", "_", name) for name in source.rows.ids]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"Several ids of {manifest} would be the file name {twice[0]!r}; give the rows other ids.")
    return [
        Film(source.rows.ids[row], source.path(row, "video"), source.clip(row), folder / f"{name}{suffix}")
        for row, name in enumerate(names)
    ]


def _compute(film: Film, settings: FlowSettings) -> str:
    """`computed`, `skipped`, or why there is no flow."""
    if film.path is None:
        return "empty cell"
    if film.out.exists():
        return "skipped"
    try:
        compute_flow(
            film.path,
            film.out,
            method=settings.method,
            bound_px=settings.bound_px,
            short_side=settings.short_side,
            clip=film.clip,
        )
    except MediaError as error:
        return error.reason
    return "computed"


def _claim(folder: Path, settings: FlowSettings) -> None:
    """Notes the settings in the folder, or checks that they are those noted."""
    path, wanted = folder / SETTINGS_NAME, {"format_version": FORMAT_VERSION, **asdict(settings)}
    if not path.is_file():
        write_text(path, json.dumps(wanted, indent=2) + "\n")
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != wanted:
        told = ", ".join(f"{name} {found.get(name)}" for name in wanted if found.get(name) != wanted[name])
        raise ValueError(f"{folder} holds flow of other settings ({told}); choose another folder.")


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """OpenCV without threads of its own, which would compete with ours."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def default_workers() -> int:
    """One per core, at most 8."""
    return min(8, os.cpu_count() or 1)
