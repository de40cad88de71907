"""The one stage of a method that is joint training under a balancing rule."""

from typing import Any, Literal

from awase.config import BalancingConfig, FusionConfig, StageConfig
from awase.methods.context import Changes, MethodContext, changed
from awase.methods.joint import trained_parts

SplitFusion = Literal["concat", "sum"]
"""Fusions whose logits are a sum of one term per modality."""


def balanced_stage(
    context: MethodContext,
    fusion: FusionConfig,
    rule: str,
    options: dict[str, Any],
    training: Changes | None,
    own_heads: bool = False,
) -> StageConfig:
    """All encoders and the fusion, or the heads it is made of, from the start, under the rule."""
    return StageConfig(
        name="joint",
        modalities=context.modalities,
        train=trained_parts(fusion.name, own_heads),
        fusion=fusion,
        balancing=BalancingConfig(name=rule, options=options),
        own_heads=own_heads,
        training=changed(context.joint_from_start, training),
    )
