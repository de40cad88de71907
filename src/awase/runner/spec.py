"""Everything needed to build a model again without its data."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from awase.config import DataConfig, EncoderConfig, Frozen, Input, StageConfig
from awase.data import Dataset
from awase.data.features import ClipDataset


class ModelSpec(Frozen):
    """Modalities with their inputs, shapes and encoders, the classes, and the seed of random initial weights."""

    seed: int
    task: str
    classes: tuple[str, ...]
    inputs: dict[str, Input]
    shapes: dict[str, tuple[int, ...]]
    """Of one sample's tensor."""
    num_samples: dict[str, int | None]
    """Length of the waveforms of an audio modality."""
    encoders: dict[str, EncoderConfig]
    start_column: str | None = None
    """Column of the second at which a row's part of its files begins, where the data has one; also of new rows."""
    end_column: str | None = None
    stream_column: str | None = None
    """Column of a row's data set, where the training's data is a stream; also of new rows."""
    data_sets: tuple[str, ...] = ()
    """Those of the stream."""
    allow_pickle: bool = Field(False, exclude=True)
    """Whether pretrained weights may be read from a pickle; never written down."""

    @property
    def multi_label(self) -> bool:
        """Whether a sample may have several labels."""
        return self.task == "multi_label"


class SavedModel(Frozen):
    """What stands beside the weights: the specification, the stage that composed the model, and its decisions."""

    format_version: int = 1
    spec: ModelSpec
    stage: StageConfig
    derived: dict[str, Any]
    threshold: float
    hashes: tuple[str, ...] = ()
    """The stages whose tensors make the model, in the order in which they are loaded; empty: beside this file."""
    card: dict[str, Any] = Field(default_factory=dict)
    """Facts for the model card."""


def model_spec(
    dataset: Dataset | ClipDataset,
    encoders: Mapping[str, EncoderConfig],
    seed: int,
    allow_pickle: bool = False,
    data: DataConfig | None = None,
) -> ModelSpec:
    """The specification of models on this data set, which `data` describes."""
    return ModelSpec(
        seed=seed,
        task=dataset.task,
        classes=dataset.classes,
        inputs=dict(dataset.inputs),
        shapes={name: dataset.input_shape(name) for name in dataset.modalities},
        num_samples={name: getattr(dataset.columns.get(name), "num_samples", None) for name in dataset.modalities},
        encoders=dict(encoders),
        start_column=None if data is None else data.start_column,
        end_column=None if data is None else data.end_column,
        stream_column=None if data is None else data.stream.column,
        data_sets=() if isinstance(dataset, ClipDataset) or dataset.stream is None else dataset.stream.names,
        allow_pickle=allow_pickle,
    )
