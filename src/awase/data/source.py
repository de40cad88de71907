"""What every data set gives, whether its samples are files or are generated: rows, inputs, and one sample at a time."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from awase.config import Input

Sample = np.ndarray | str | tuple[str, ...]


class MediaError(Exception):
    """A sample cannot be had from its file; `reason` is one short sentence without the path."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AbsentTrackError(MediaError):
    """The file is sound but has no track of the kind asked for."""


@dataclass(frozen=True)
class Rows:
    """The table of a data set, one entry per row in each field.

    `labels` holds the names of one or of several classes per row (none is allowed in a multi-label task). `splits` are
    `train`, `val`, `test`, or `None` where the table does not say. `groups` are kept together when validation is
    carved out; `folds` are for cross-validation; `data_sets` say of which one of a stream a row is.
    """

    ids: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    splits: tuple[str | None, ...]
    groups: tuple[str, ...] | None = None
    folds: tuple[str, ...] | None = None
    data_sets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` where the fields differ in length."""
        columns = {"labels": self.labels, "splits": self.splits, "groups": self.groups, "folds": self.folds}
        columns["data sets"] = self.data_sets
        for name, column in columns.items():
            if column is not None and len(column) != len(self.ids):
                raise ValueError(f"A table has {len(self.ids)} ids but {len(column)} {name}; give one of each per row.")

    def __len__(self) -> int:
        return len(self.ids)


@runtime_checkable
class Source(Protocol):
    """Rows and how to read one of them."""

    @property
    def rows(self) -> Rows: ...

    @property
    def inputs(self) -> dict[str, Input]:
        """Per modality, what `read` gives and what becomes of it."""
        ...

    def fingerprint(self, index: int) -> str:
        """Of the content that row `index` is made from: equal content, equal text; paths and times do not enter."""
        ...

    def read(self, index: int, modality: str) -> Sample | None:
        """The decoded sample at the size that its input states, before augmentation; `None` where there is none.

        | kind | gives |
        | --- | --- |
        | video | uint8 (frames, height, width, channels) |
        | image | uint8 (height, width, channels) |
        | flow | float32 in [-1, 1], (frames, height, width, 2): to the right, down |
        | audio | float32 (samples,) in [-1, 1], mono, at the input's rate; without a window of any length |
        | text | a string; or several, of which training sees all as candidates, everything else the first |
        | array | float32 of the input's shape |

        It is called from several threads at once. Raises `MediaError` for a file that cannot be decoded.
        """
        ...

    def recording(self, index: int, modality: str) -> np.ndarray | None:
        """The whole recording that an audio `read` gives a window of: float32 (samples,) at the input's rate."""
        ...
