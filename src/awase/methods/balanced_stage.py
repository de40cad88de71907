"""The one stage of a method that is joint training under a balancing rule."""

from typing import Any, Literal

from awase.config import BalancingConfig, FusionConfig, StageConfig
from awase.methods.context import Changes, MethodContext, changed

SplitFusion = Literal["concat", "sum"]
"""Fusions whose logits are a sum of one term per modality."""


def balanced_stage(
    context: MethodContext,
    fusion: FusionConfig,
    rule: str,
    options: dict[str, Any],
    training: Changes | None,
) -> StageConfig:
    """All encoders and the fusion (for `sum` the heads) from the start, under the rule."""
    return StageConfig(
        name="joint",
        modalities=context.modalities,
        train=("*.encoder", "*.head" if fusion.name == "sum" else "fusion"),
        fusion=fusion,
        balancing=BalancingConfig(name=rule, options=options),
        training=changed(context.joint_from_start, training),
    )
