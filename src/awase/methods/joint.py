"""Joint training from the pretrained weights, from the uni-modal stages, and of a classifier on frozen features."""

from typing import Literal

from pydantic import JsonValue

from awase.config import FusionConfig, Node, ObjectiveConfig, StageConfig, TrainConfig
from awase.methods.context import Changes, MethodContext, changed, unimodal_stages

JointFusion = Literal["concat", "sum", "late_mean", "mlp", "film", "gated"]
SPLIT = ("concat", "sum", "late_mean")
"""Fusions whose logits are a sum or a mean of one term per modality."""
ON_HEADS = ("sum", "late_mean")
"""Fusions of the logits of one head per modality."""
CONDITIONED = ("film", "gated")
"""Fusions in which one modality conditions the other."""


def joint(
    context: MethodContext,
    fusion: JointFusion = "concat",
    modality_weight: float = 0.0,
    own_heads: bool = False,
    conditioning: str | None = None,
    training: Changes | None = None,
) -> list[Node]:
    """The multi-modal baseline: all encoders and the fusion from the start, one loss on the fused logits.

    With `modality_weight` w > 0 also w sum_m CE(z_m, y): z_m are the fusion's per-modality logits, or, with
    `own_heads`, those of one more linear head per modality beside the fusion (the multi-loss baseline). `mlp`, `film`
    and `gated` have no logits per modality but with `own_heads`; `sum` and `late_mean` are made of heads already.
    `film` and `gated` take two modalities; `conditioning` names the one that conditions the other.
    """
    _check_heads(fusion, modality_weight, own_heads)
    stage = StageConfig(
        name="joint",
        modalities=context.modalities,
        train=trained_parts(fusion, own_heads),
        fusion=FusionConfig(name=fusion, options=_options(context, fusion, conditioning)),
        objective=ObjectiveConfig(modality_weight=modality_weight),
        own_heads=own_heads,
        training=changed(context.joint_from_start, training),
    )
    return [stage]


def joint_finetuned(
    context: MethodContext, fusion: JointFusion = "concat", training: Changes | None = None
) -> list[Node]:
    """Every encoder begins from its uni-modal stage, then all are trained together."""
    first = unimodal_stages(context)
    stage = StageConfig(
        name="joint",
        modalities=context.modalities,
        train=trained_parts(fusion),
        start=tuple(stage.name for stage in first),
        fusion=FusionConfig(name=fusion),
        training=changed(context.joint, training),
    )
    return [*first, stage]


def frozen_linear(context: MethodContext, training: Changes | None = None) -> list[Node]:
    """A linear classifier on the concatenated features of the uni-modal stages, which stay frozen."""
    first = unimodal_stages(context)
    return [*first, linear_stage(context, first, changed(context.joint, training))]


def linear_stage(context: MethodContext, first: list[StageConfig], training: TrainConfig) -> StageConfig:
    """The stage that trains a linear classifier on the features of the stages `first`."""
    return StageConfig(
        name="linear",
        modalities=context.modalities,
        train=("fusion",),
        start=tuple(stage.name for stage in first),
        fusion=FusionConfig(name="concat"),
        training=training,
    )


def trained_parts(fusion: str, own_heads: bool = False) -> tuple[str, ...]:
    """The parts that a joint stage trains: every encoder, and the fusion or the heads it is made of, or both."""
    if fusion in ON_HEADS:
        return ("*.encoder", "*.head")
    return ("*.encoder", "fusion", "*.head") if own_heads else ("*.encoder", "fusion")


def _check_heads(fusion: str, modality_weight: float, own_heads: bool) -> None:
    if own_heads and fusion in ON_HEADS:
        raise ValueError(
            f"The fusion {fusion!r} is made of one head per modality already; own_heads is for concat, mlp, film "
            "and gated."
        )
    if own_heads and modality_weight <= 0:
        raise ValueError("Heads of their own learn from their own losses alone; set modality_weight above 0.")
    if not own_heads and modality_weight > 0 and fusion not in SPLIT:
        raise ValueError(
            f"The fusion {fusion!r} has no per-modality logits to weight; set own_heads=true, or use "
            f"{SPLIT[0]}, {SPLIT[1]} or {SPLIT[2]}."
        )


def _options(context: MethodContext, fusion: str, conditioning: str | None) -> dict[str, JsonValue]:
    if conditioning is None:
        return {}
    if fusion not in CONDITIONED:
        raise ValueError(
            f"In the fusion {fusion!r} no modality conditions another; `conditioning` is for film and gated."
        )
    context.check((conditioning,))
    return {"conditioning": conditioning}
