"""Which data set of a stream every row is of, and which of its rows stay for later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from awase.config import DataConfig
from awase.data.source import Rows


@dataclass(frozen=True, eq=False)
class Stream:
    """The data sets in the order in which they come, and the place of each row's among them."""

    names: tuple[str, ...]
    of_row: np.ndarray

    def rows(self, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Those of `rows` that are of the data sets `names`, in their order; `ValueError` for an unknown one."""
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ValueError(f"The stream has no data set {', '.join(unknown)}; valid names: {', '.join(self.names)}.")
        return rows[np.isin(self.of_row[rows], [self.names.index(name) for name in names])]


def resolve_stream(rows: Rows, splits: Mapping[str, np.ndarray], config: DataConfig) -> Stream | None:
    """The stream that the rows and the configuration describe; None where they describe none.

    Raises `ValueError` for an order that is not one of exactly these data sets, for a label that `classes` gives to
    none, and for a data set that lacks rows in a split.
    """
    of_rows = _by_class(rows, config) if config.stream.classes else rows.data_sets
    if of_rows is None:
        if config.stream.column is not None or config.stream.order:
            raise ValueError(
                f"The data set {config.dataset!r} has no column to say which data set of a stream a row is of; use "
                "data.stream.classes" + (", or data.scenes.domains." if config.dataset == "scenes" else ".")
            )
        return None
    there = tuple(dict.fromkeys(of_rows))
    names = config.stream.order or tuple(name for name in config.stream.classes if name in there) or there
    if set(names) != set(there):
        raise ValueError(
            f"data.stream.order names {', '.join(names)}, and the rows are of {', '.join(there)}; name each of these "
            "once."
        )
    stream = Stream(names, np.array([names.index(name) for name in of_rows], dtype=np.int64))
    for split, members in splits.items():
        lacking = [name for name in names if len(stream.rows(members, (name,))) == 0]
        if lacking:
            raise ValueError(
                f"The data set {lacking[0]!r} of the stream has no row in the split {split!r}; every stage needs rows "
                "to train, validate and test on. Mark some in the split column, or raise data.validation_fraction."
            )
    return stream


def _by_class(rows: Rows, config: DataConfig) -> tuple[str, ...]:
    of_label = {label: name for name, labels in config.stream.classes.items() for label in labels}
    several = next((labels for labels in rows.labels if len(labels) != 1), None)
    if several is not None:
        raise ValueError("data.stream.classes is for rows with one label each; name a column in data.stream.column.")
    outside = sorted({label for (label,) in rows.labels} - of_label.keys())
    if outside:
        raise ValueError(f"data.stream.classes gives the labels {', '.join(outside)} to no data set; name all of them.")
    return tuple(of_label[label] for (label,) in rows.labels)


def replayed(stream: Stream, train: np.ndarray, names: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Of the training rows of each of these data sets the share that stays, one row at least; none for a share of 0.

    Which rows of a data set stay depends on the seed and its place in the stream alone, so that every later stage has
    the same ones: what was once let go does not come back. A smaller share keeps a part of a larger one's.
    """
    kept = [np.empty(0, dtype=np.int64)]
    for name in names if share > 0 else ():
        own = stream.rows(train, (name,))
        generator = np.random.default_rng(np.random.SeedSequence([seed, stream.names.index(name), 0x2E91]))
        kept.append(own[generator.permutation(len(own))[: max(1, round(share * len(own)))]])
    return np.concatenate(kept)
