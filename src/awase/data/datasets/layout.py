"""What the reader of an official layout gives: rows with their files, every split by its name, and what is odd."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awase.config import Input


@dataclass(frozen=True)
class LayoutRow:
    """One sample of a data set: `files` and `texts` by manifest column, and its split in every named splitting.

    A file that the layout should have and does not have stays in `files`; `Layout.absent` says so. `splits` maps the
    name of a splitting (`published`, `honest`, ...) to `train`, `val`, `test` or None where the row is in none.
    """

    id: str
    labels: tuple[str, ...]
    files: Mapping[str, Path]
    texts: Mapping[str, str]
    splits: Mapping[str, str | None]
    group: str | None = None
    """Rows of one group (actor, source video) must not be shared between train and test."""
    fold: int | None = None
    """The fold of a cross-validation in which the row is tested; None: in none."""
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class Layout:
    """A data set as it lies on the user's disk, before anything is decoded."""

    name: str
    rows: tuple[LayoutRow, ...]
    classes: tuple[str, ...]
    class_order: str
    """Where the order of the classes comes from, in words."""
    multi_label: bool
    inputs: Mapping[str, Input]
    """Modality -> how the experiments of the tables read it; `column` names a column of the manifest."""
    default_splitting: str
    """The honest one: no group in both train and test."""
    published_counts: Mapping[str, Mapping[str, int]]
    """Splitting -> split -> rows in the published split; compared with what is there."""
    absent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> ids whose file is not there."""
    notes: tuple[str, ...] = ()
    """Sentences on what the reader tolerated, and on known overlaps."""
    facts: Mapping[str, Any] = field(default_factory=dict)
