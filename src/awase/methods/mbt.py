"""MBT: transformers of several modalities that exchange what they know through bottleneck tokens."""

from typing import Literal

from awase.config import FusionConfig, Node, StageConfig
from awase.methods.context import Changes, MethodContext, changed


def mbt(
    context: MethodContext,
    num_bottlenecks: int = 4,
    fusion_layer: int | None = None,
    head: Literal["token", "gap"] = "token",
    zero_init: bool = True,
    training: Changes | None = None,
) -> list[Node]:
    """One stage that trains all encoders, the bottleneck tokens and the head together, from the encoders' weights.

    The settings are the options of the fusion `bottleneck`. Every modality needs a transformer of the same width and
    depth. Source: Nagrani et al., Attention Bottlenecks for Multimodal Fusion, NeurIPS 2021.
    """
    options = {
        "num_bottlenecks": num_bottlenecks,
        "fusion_layer": fusion_layer,
        "head": head,
        "zero_init": zero_init,
    }
    stage = StageConfig(
        name="mbt",
        modalities=context.modalities,
        train=("*.encoder", "fusion"),
        fusion=FusionConfig(name="bottleneck", options=options),
        training=changed(context.joint_from_start, training),
    )
    return [stage]
