"""An opened data set: rows, splits and targets, and loaders of batches."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from awase.config import Input
from awase.data.collate import Content
from awase.data.columns import Column, TextColumn
from awase.data.labels import Task
from awase.data.loader import BatchLoader, Settings
from awase.data.source import Rows
from awase.data.stream import Stream, replayed
from awase.digest import json_digest


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a stage learns from and is measured on. Made by `open_dataset`.

    `splits` are row numbers of `train`, `val` and `test`; rows in none of them were excluded (`summary`). `targets` of
    all rows are class indices (rows,), zeros and ones (rows, classes) in a multi-label task, -1 in retrieval.
    `fingerprint` stands for ids, labels, splits, groups and the content of the files, not for paths, times or
    preprocessing. `summary` is fit for JSON.
    """

    rows: Rows
    task: Task
    classes: tuple[str, ...]
    inputs: dict[str, Input]
    splits: dict[str, np.ndarray]
    targets: np.ndarray
    fingerprint: str
    summary: dict[str, Any]
    columns: dict[str, Column] = field(repr=False)
    contents: dict[str, str] = field(default_factory=dict, repr=False)
    """Split -> fingerprint of its samples: their ids and what they are made from."""
    stream: Stream | None = field(default=None, repr=False)
    """Which data set of a stream every row is of; None: there is no stream."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Their names, in the order of the inputs."""
        return tuple(self.inputs)

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all rows."""
        return self.rows.ids

    def content_of(self, split: str) -> str:
        """The fingerprint of a split's samples."""
        return self.contents[split]

    def set_title(self, split: str) -> str | None:
        """The name that a split has by itself: none."""
        return None

    @property
    def training_fingerprint(self) -> str:
        """What a stage depends on: the whole table, of whose rows training and its validation are a part."""
        return self.fingerprint

    @property
    def groups(self) -> tuple[str, ...] | None:
        """Of all rows, where the data has groups."""
        return self.rows.groups

    @property
    def candidate_modalities(self) -> tuple[str, ...]:
        """Those of which a sample has several inputs in training."""
        texts = {name: column for name, column in self.columns.items() if isinstance(column, TextColumn)}
        return tuple(name for name, column in texts.items() if column.num_candidates > 1)

    def only(
        self, names: Sequence[str], *, earlier: Sequence[str] = (), share: float = 0.0, seed: int = 0
    ) -> "Dataset":
        """The same table with the rows of some data sets of the stream alone in every split.

        In training, besides, `share` of the rows of each of the `earlier` ones, drawn with the seed (`replayed`).
        Raises `ValueError` for a data set that the stream does not have, and without a stream.
        """
        if self.stream is None:
            raise ValueError("This data is no stream: say which data set a row is of, --set data.stream.column=NAME.")
        found = {split: self.stream.rows(rows, names) for split, rows in self.splits.items()}
        again = replayed(self.stream, self.splits["train"], earlier, share, seed)
        found["train"] = np.sort(np.concatenate([found["train"], again]))
        return replace(self, splits=found, contents={})

    def apart(self) -> "Dataset":
        """The same table with validation and test divided by the data sets of the stream: `val street`, `test street`.

        As it is without a stream.
        """
        if self.stream is None:
            return self
        parts, contents = dict[str, np.ndarray](), dict[str, str]()
        for split, rows in self.splits.items():
            for name in self.stream.names if split != "train" else ():
                parts[f"{split} {name}"] = self.stream.rows(rows, (name,))
                contents[f"{split} {name}"] = json_digest([self.contents[split], name])
        return replace(self, splits=parts, contents=contents)

    def input_shape(self, modality: str) -> tuple[int, ...]:
        """The shape of one sample's final tensor; (max_tokens,) for text. Raises `KeyError` for another modality."""
        return self._column(modality).shape

    def texts(self, rows: np.ndarray) -> dict[str, list[str | None]]:
        """Per text modality the texts of these rows, None where there is none."""
        columns = {name: column for name, column in self.columns.items() if isinstance(column, TextColumn)}
        return {
            name: [column.texts[row] if column.present[row] else None for row in rows.tolist()]
            for name, column in columns.items()
        }

    def several(self, split: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The modalities of which a clip has several items, each in a row of its own: none."""
        return {}

    def loader(
        self,
        split: str,
        *,
        batch_size: int,
        modalities: Sequence[str] | None = None,
        inputs: Sequence[str] | None = None,
        seed: int = 0,
        train: bool = False,
        mixup: float = 0.0,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> BatchLoader:
        """Batches of a split, with all or some of the modalities; of these, `inputs` (None: all) are read and made.

        Rows that have none of these modalities are left out (`num_samples` counts the others). `train=True` shuffles,
        augments and mixes (`mixup` is the alpha of its Beta distribution); without it corruptions alone are applied,
        the same ones each time. `batch_size` counts rows over all `world_size` processes. `workers` threads prepare
        batches ahead; none of the numbers depends on them. Raises `KeyError` for an unknown split or modality,
        `ValueError` for mixup of text.
        """
        if split not in self.splits:
            raise KeyError(f"There is no split {split!r}; the splits are {', '.join(self.splits)}.")
        names = self.modalities if modalities is None else tuple(modalities)
        columns = {name: self._column(name) for name in names}
        made = None if inputs is None else frozenset(inputs)
        content = Content(self.ids, self.targets, len(self.classes), columns, made)
        rows = self.splits[split]
        rows = rows[content.presence(rows).any(axis=1)]
        return BatchLoader(content, rows, Settings(batch_size, seed, train, mixup, workers, rank, world_size))

    def _column(self, modality: str) -> Column:
        if modality not in self.columns:
            raise KeyError(f"The data set has no modality {modality!r}; it has {', '.join(self.columns)}.")
        return self.columns[modality]
