"""Data sets that come one after the other: which row is of which, and what a stage sees and keeps of them."""

from pydantic import Field, model_validator

from awase.config.base import Frozen
from awase.config.policies import LowRankPolicy


class StreamConfig(Frozen):
    """Which data set of a stream every row is of, by a column or by the classes; without both there is no stream."""

    column: str | None = None
    """The column of the manifest with the name of the row's data set (domain, task)."""
    classes: dict[str, tuple[str, ...]] = {}
    """Instead of a column: data set -> the labels of its rows; the order is that of the stream."""
    order: tuple[str, ...] = ()
    """All data sets in the order in which they come; empty: as they first appear."""

    @model_validator(mode="after")
    def _check(self) -> "StreamConfig":
        if self.column is not None and self.classes:
            raise ValueError(
                "Both data.stream.column and data.stream.classes say of which data set a row is; give one."
            )
        labels = [label for chosen in self.classes.values() for label in chosen]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"data.stream.classes gives {', '.join(twice)} to several data sets; a label is of one.")
        if len(set(self.order)) < len(self.order):
            raise ValueError(f"data.stream.order names a data set twice: {', '.join(self.order)}.")
        return self


class StageStream(Frozen):
    """What a stage of a stream learns from, and what keeps it at what the stages before it could do."""

    data_sets: tuple[str, ...]
    """The stage trains and validates on the rows of these alone."""
    earlier: tuple[str, ...] = ()
    """The data sets of the stages before it."""
    replay: float = Field(0.0, ge=0, le=1)
    """Share of the training rows of every earlier data set that stay and are trained on again."""
    distillation: float = Field(0.0, ge=0)
    """Times the distance of the logits of earlier classes from those of the teacher (learning without forgetting)."""
    temperature: float = Field(2.0, gt=0)
    """Of that distance."""
    elastic: float = Field(0.0, ge=0)
    """Strength of the elastic penalty (EWC) around the weights of every teacher, one per earlier data set."""
    fisher_rows: int = Field(512, ge=1)
    """Most training rows of an earlier data set that its Fisher information is a mean over."""
    low_rank: LowRankPolicy | None = Field(None, exclude_if=lambda value: value is None)
    """What the adapters begin with through which the stage learns; they are in the weights when the next one begins."""
    keys: tuple[str, ...] = ()
    """The data sets that have adapters and heads of their own (a bank); the last one's act while the stage trains."""
