"""Joint training from the pretrained weights, from the uni-modal stages, and of a classifier on frozen features."""

from typing import Literal

from awase.config import FusionConfig, Node, ObjectiveConfig, StageConfig
from awase.methods.context import Changes, MethodContext, changed, unimodal_stages

JointFusion = Literal["concat", "sum", "late_mean", "mlp"]


def joint(
    context: MethodContext,
    fusion: JointFusion = "concat",
    modality_weight: float = 0.0,
    training: Changes | None = None,
) -> list[Node]:
    """The multi-modal baseline: all encoders and the fusion from the start, one loss on the fused logits.

    With `modality_weight` w > 0 also w sum_m CE(z_m, y) of the fusion's per-modality logits; `mlp` has none, so
    there it is refused.
    """
    if fusion == "mlp" and modality_weight > 0:
        raise ValueError("The fusion 'mlp' has no per-modality logits to weight; use concat, sum or late_mean.")
    return [_joint_stage(context, fusion, (), training, modality_weight)]


def joint_finetuned(
    context: MethodContext, fusion: JointFusion = "concat", training: Changes | None = None
) -> list[Node]:
    """Every encoder begins from its uni-modal stage, then all are trained together."""
    first = unimodal_stages(context)
    return [*first, _joint_stage(context, fusion, tuple(stage.name for stage in first), training)]


def frozen_linear(context: MethodContext, training: Changes | None = None) -> list[Node]:
    """A linear classifier on the concatenated features of the uni-modal stages, which stay frozen."""
    first = unimodal_stages(context)
    stage = StageConfig(
        name="linear",
        modalities=context.modalities,
        train=("fusion",),
        start=tuple(stage.name for stage in first),
        fusion=FusionConfig(name="concat"),
        training=changed(context.joint, training),
    )
    return [*first, stage]


def _joint_stage(
    context: MethodContext,
    fusion: JointFusion,
    start: tuple[str, ...],
    training: Changes | None,
    modality_weight: float = 0.0,
) -> StageConfig:
    head = "fusion" if fusion in ("concat", "mlp") else "*.head"
    return StageConfig(
        name="joint",
        modalities=context.modalities,
        train=("*.encoder", head),
        start=start,
        fusion=FusionConfig(name=fusion),
        objective=ObjectiveConfig(modality_weight=modality_weight),
        training=changed(context.joint if start else context.joint_from_start, training),
    )
