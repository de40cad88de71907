"""The uni-modal ensemble (UME), and the ensemble trained on as a whole."""

from typing import Literal

from pydantic import JsonValue

from awase.config import DeriveConfig, FusionConfig, Node, StageConfig
from awase.methods.context import Changes, MethodContext, changed, unimodal_stages


def ume(
    context: MethodContext,
    mean: Literal["logits", "probabilities"] = "logits",
    calibrated: bool = False,
    weighted: bool = False,
    longer: bool = False,
) -> list[Node]:
    """The mean of the uni-modal models: nothing is trained after them.

    `calibrated`: each modality's logits are divided by the temperature with the least validation loss; `weighted`:
    the mean takes the weights with the least validation loss. `longer`: the control that gives stage 1 the epochs
    of the joint stage as well.
    """
    first = unimodal_stages(context, context.joint.epochs if longer else 0)
    names = tuple(stage.name for stage in first)
    derived: dict[str, str] = {}
    decisions: list[Node] = []
    if calibrated:
        decisions.append(DeriveConfig(name="temperatures", function="temperatures", stages=names))
        derived["temperatures"] = "temperatures"
    if weighted:
        options: dict[str, JsonValue] = {"of": mean, "calibrated": calibrated}
        decisions.append(DeriveConfig(name="weights", function="ensemble_weights", stages=names, options=options))
        derived["weights"] = "weights"
    mean_stage = StageConfig(
        name="ensemble",
        modalities=context.modalities,
        start=names,
        fusion=FusionConfig(name="late_mean", options={"of": mean}),
        derived=derived,
    )
    return [*first, *decisions, mean_stage]


def ume_full(context: MethodContext, training: Changes | None = None) -> list[Node]:
    """The ensemble's encoders and heads, all trained on with one loss on the mean of the logits."""
    first = unimodal_stages(context)
    stage = StageConfig(
        name="joint",
        modalities=context.modalities,
        train=("*.encoder", "*.head"),
        start=tuple(stage.name for stage in first),
        fusion=FusionConfig(name="late_mean"),
        training=changed(context.joint, training),
    )
    return [*first, stage]
