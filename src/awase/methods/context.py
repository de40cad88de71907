"""What a method is told, and the stages that several methods begin with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from awase.config import FusionConfig, StageConfig, TrainConfig

Changes = dict[str, Any]
"""Fields of a `TrainConfig` to change."""


@dataclass(frozen=True)
class MethodContext:
    """The modalities of the experiment, and how it trains one modality alone and several together."""

    modalities: tuple[str, ...]
    unimodal: Mapping[str, TrainConfig]
    joint: TrainConfig
    from_start: TrainConfig | None = None
    """Of several modalities from the initial weights; None: as `joint`."""
    data_sets: tuple[str, ...] = ()
    """Those of a stream, in the order in which they come."""

    @property
    def joint_from_start(self) -> TrainConfig:
        """How a stage on several modalities trains that begins from no earlier one."""
        return self.joint if self.from_start is None else self.from_start

    def check(self, modalities: tuple[str, ...]) -> None:
        """Raises `ValueError` when one of `modalities` is not in the experiment."""
        unknown = sorted(set(modalities) - set(self.modalities))
        if unknown:
            raise ValueError(
                f"The experiment has no modality {', '.join(unknown)}; valid names: {', '.join(self.modalities)}."
            )


def changed(config: TrainConfig, changes: Changes | None) -> TrainConfig:
    """`config` with some fields changed and checked; raises `ValueError` for an unknown field or a bad value."""
    valid = TrainConfig.model_fields
    unknown = sorted(set(changes or {}) - set(valid))
    if unknown:
        raise ValueError(f"Training has no field {', '.join(unknown)}; valid names: {', '.join(valid)}.")
    return TrainConfig.model_validate(config.model_dump() | (changes or {}))


def unimodal_stage(context: MethodContext, modality: str, extra_epochs: int = 0) -> StageConfig:
    """The stage that fine-tunes one modality alone: its encoder and a head of its own."""
    training = context.unimodal[modality]
    return StageConfig(
        name=modality,
        modalities=(modality,),
        train=(f"{modality}.encoder", f"{modality}.head"),
        fusion=FusionConfig(name="late_mean"),
        training=training.model_copy(update={"epochs": training.epochs + extra_epochs}),
    )


def unimodal_stages(context: MethodContext, extra_epochs: int = 0) -> list[StageConfig]:
    """One uni-modal stage per modality of the experiment."""
    return [unimodal_stage(context, modality, extra_epochs) for modality in context.modalities]
