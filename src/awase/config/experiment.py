"""Stages, decisions, methods, and the experiment they make."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from awase.config.base import Frozen
from awase.config.data import DataConfig
from awase.config.parts import (
    AdapterConfig,
    BalancingConfig,
    EncoderConfig,
    FusionConfig,
    ObjectiveConfig,
    TrainConfig,
)
from awase.config.retrieval import RetrievalConfig
from awase.config.stream import StageStream


class StageConfig(Frozen):
    """One stage: which parts learn, from where, with which objective. Everything it does not name stays as it was.

    Parts are `<modality>.encoder`, `<modality>.adapter`, `<modality>.head` and `fusion`; in a joint space
    `<modality>.reconstruction` and `objective` instead of `fusion`. With `train=()` nothing
    learns: the stage only composes what earlier stages made (UME).
    """

    name: str
    modalities: tuple[str, ...]
    train: tuple[str, ...] = ()
    """Patterns (`fnmatch`) over part names; each must match a part."""
    start: tuple[str, ...] = ()
    """Names of earlier stages of the same method whose parts this one begins with; later ones win."""
    fusion: FusionConfig = FusionConfig()
    adapters: dict[str, AdapterConfig] = {}
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainConfig = TrainConfig()
    balancing: BalancingConfig | None = None
    retrieval: RetrievalConfig | None = None
    """A joint space instead of a fusion: the data's task is then `retrieval`."""
    stream: StageStream | None = None
    """Of a stage on one data set of a stream; None: it learns from all rows."""
    own_heads: bool = False
    """A linear head per modality beside a fusion that needs none; its logits are then the modality's own."""
    teachers: tuple[str, ...] = ()
    """Names of earlier stages, frozen, whose features (`objective.distillation`) or logits (`stream.distillation`) are
    distilled, or around whose weights this one is held (`stream.elastic`)."""
    measure_ends: bool = False
    """Measure the loss on train and validation, without augmentation, before and after the training."""
    derived: dict[str, str] = {}
    """Fusion option -> name of the `DeriveConfig` whose result is its value; `objective` -> one whose result are
    fields of the objective."""
    only_if: dict[str, JsonValue] = {}
    """Name of a `DeriveConfig` -> the `choice` in its result with which this stage is run; else it is left out."""


class DeriveConfig(Frozen):
    """A decision from what earlier stages are on validation (and what they measured): a pure function to JSON."""

    name: str
    function: str
    stages: tuple[str, ...]
    options: dict[str, JsonValue] = {}


Node = StageConfig | DeriveConfig


class MethodConfig(Frozen):
    """A method by name with its settings, and the alternatives among which validation chooses.

    `candidates` are dotted changes of the settings (`{"training.learning_rate": 1e-4}`); an empty tuple tries one.
    """

    method: str
    label: str | None = None
    settings: dict[str, JsonValue] = {}
    candidates: tuple[dict[str, JsonValue], ...] = ()

    @property
    def title(self) -> str:
        """The name in folders and tables."""
        return self.label or self.method


class SelectionConfig(Frozen):
    """What chooses epochs and candidates; always on validation."""

    metric: str = "accuracy"
    direction: Literal["max", "min"] = "max"


class Experiment(Frozen):
    """Everything that determines the numbers of a comparison: data, encoders, methods, seeds and folds."""

    name: str
    data: DataConfig
    encoders: dict[str, EncoderConfig] = {}
    """Per modality; one that is not named gets the small built-in encoder of its kind."""
    methods: tuple[MethodConfig, ...]
    unimodal: TrainConfig = TrainConfig()
    unimodal_overrides: dict[str, dict[str, JsonValue]] = {}
    """Per modality, changes of `unimodal`."""
    joint: TrainConfig = TrainConfig()
    """Of stages on several modalities that begin from earlier stages."""
    from_start: TrainConfig | None = None
    """Of stages on several modalities that begin from the initial weights; None: as `joint`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    folds: tuple[int, ...] = ()
    selection: SelectionConfig = SelectionConfig()
    probe: bool = True
    """Linear probe on each encoder after every stage."""
    missing_rates: tuple[float, ...] = (0.25, 0.5)
    """Shares of modalities removed at random in the test of robustness."""
    published: dict[str, float | dict[str, float]] = {}
    """Method title -> published value of the selection metric, or of several metrics by name; fractions or percent."""
    published_starred: tuple[str, ...] = ()
    """Titles whose published value carries a star in its source: most likely re-run there, not copied."""
    published_note: str | None = None
    """How the published values were measured, where that differs from this experiment."""

    def restricted(
        self,
        *,
        seeds: Sequence[int] | None = None,
        folds: Sequence[int] | None = None,
        methods: Sequence[str] | None = None,
    ) -> "Experiment":
        """Only these seeds, folds and methods (by title), where given; `ValueError` for a method it does not have."""
        titles = [method.title for method in self.methods]
        unknown = sorted(set(methods or ()) - set(titles))
        if unknown:
            raise ValueError(f"The experiment has no method {', '.join(unknown)}; valid names: {', '.join(titles)}.")
        return self.model_copy(
            update={
                "seeds": tuple(seeds or self.seeds),
                "folds": tuple(folds or self.folds),
                "methods": tuple(method for method in self.methods if not methods or method.title in methods),
            }
        )


class Runtime(Frozen):
    """How a run is executed; nothing here may change a number except device, dtype and threads, which are hashed."""

    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = Field(None, ge=1)
    workers: int = Field(0, ge=0)
    cache: Path = Path.home() / ".cache" / "awase"
    cache_gib: float = Field(50.0, gt=0)
    clip_cache_gib: float = Field(50.0, ge=0)
    """Most that features of frozen encoders, kept for the clips of stores, may take; 0: none are kept."""
    checkpoint_every_s: float = Field(60.0, ge=0)
    allow_pickle: bool = False
    command: str | None = None
    """How the run was started, for the record."""
