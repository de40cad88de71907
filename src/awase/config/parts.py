"""The parts of a model, its objective, and how it is trained."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, field_serializer, model_validator

from awase.config.base import Frozen


class EncoderConfig(Frozen):
    """An encoder by name, or any callable of the user's that returns one; `options` go to its constructor."""

    name: str | Callable[..., Any]
    options: dict[str, JsonValue] = {}
    pretrained: bool | str = False
    """False: random weights; True: the library's default weights; or a local folder or Hub name."""

    @field_serializer("name")
    def _name_as_text(self, name: str | Callable[..., Any]) -> str:
        """A callable is written as `FILE.py::NAME`, from where it can be loaded again."""
        return name if isinstance(name, str) else f"{inspect.getsourcefile(name)}::{name.__qualname__}"


class AdapterConfig(Frozen):
    """LoRA on the layers that `targets` names: a preset (`q,v`, `qkvo`, `all-linear`, ...) or patterns over names."""

    targets: str | tuple[str, ...] = "default"
    rank: int = Field(4, ge=1)
    alpha: float | None = Field(None, gt=0)
    """None: alpha equals the rank, a scale of 1."""
    dropout: float = Field(0.0, ge=0, lt=1)
    last_layers: int | None = Field(None, ge=1)
    """Only the last so many blocks; None: all."""


class FusionConfig(Frozen):
    """How the modalities' features become one decision."""

    name: str = "late_mean"
    options: dict[str, JsonValue] = {}


class ObjectiveConfig(Frozen):
    """Cross-entropy (one label) or binary cross-entropy (several), of the fused and of each modality's logits."""

    fused_weight: float = Field(1.0, ge=0)
    modality_weight: float = Field(0.0, ge=0)
    modality_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Per modality; one that is not named has `modality_weight`."""
    distillation: float = Field(0.0, ge=0)
    """Times the mean squared difference of each modality's features from those of its teacher (`stage.teachers`)."""

    def weight_of(self, modality: str) -> float:
        """The weight of the loss of one modality's own logits."""
        return self.modality_weights.get(modality, self.modality_weight)


class BalancingConfig(Frozen):
    """A rule that changes how the modalities learn: what it is called, and its options."""

    name: str
    options: dict[str, JsonValue] = {}


class TrainConfig(Frozen):
    """How long and with which optimiser a stage trains."""

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(32, ge=1)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    head_learning_rate: float | None = Field(None, gt=0)
    """For parts named `*.head` and `fusion`; None: the same."""
    weight_decay: float = Field(1e-2, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    step_epochs: int = Field(70, ge=1)
    step_factor: float = Field(0.1, gt=0)
    schedule_from: float = Field(0.0, ge=0, lt=1)
    schedule_to: float = Field(1.0, gt=0, le=1)
    """The share of the schedule at which the stage begins and ends: the second of two stages with 0.5 goes on from
    where a first one that ended at 0.5 stopped, instead of beginning at the full rate again. Only for cosine."""
    warmup_epochs: float = Field(0.0, ge=0)
    accumulate: int = Field(1, ge=1)
    clip_norm: float | None = Field(None, gt=0)
    average: Literal["none", "ema"] = "none"
    average_decay: float = Field(0.99, ge=0, lt=1)
    checkpoint_activations: bool = False
    mixup: float = Field(0.0, ge=0)
    """The alpha of Beta(alpha, alpha), from which the share of each mixed pair is drawn; 0: no mixing."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """For one label per sample."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: rare classes count more, in inverse proportion to their training rows."""
    early_stopping: int | None = Field(None, ge=1)
    """Stop after so many epochs without a better validation metric; None: never."""
    select: Literal["best", "last"] = "best"
    """Which epoch is kept: the best on validation, or the last."""

    @model_validator(mode="after")
    def _check(self) -> "TrainConfig":
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"A warm-up of {self.warmup_epochs:g} epochs does not end within {self.epochs}; shorten it, or train "
                "longer."
            )
        if self.schedule_from >= self.schedule_to:
            raise ValueError(
                f"A stage goes forward on its schedule: schedule_from ({self.schedule_from}) must be below schedule_to "
                f"({self.schedule_to})."
            )
        if (self.schedule_from, self.schedule_to) != (0.0, 1.0) and self.schedule != "cosine":
            raise ValueError(f"Only the cosine schedule can be passed through in parts; this one is {self.schedule!r}.")
        return self
