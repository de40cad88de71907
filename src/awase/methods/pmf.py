"""PMF: two frozen transformers whose last blocks ask each other questions through learned prompts."""

from typing import Literal

from awase.config import FusionConfig, Node, StageConfig
from awase.methods.context import Changes, MethodContext, changed, unimodal_stage

Towers = Literal["pretrained", "unimodal"]


def pmf(
    context: MethodContext,
    modalities: tuple[str, str] | None = None,
    num_fused: int = 2,
    num_query: int = 4,
    num_query_context: int = 4,
    num_fusion_context: int = 4,
    width: int | None = None,
    towers: Towers = "pretrained",
    training: Changes | None = None,
) -> list[Node]:
    """The prompts, the translations and a head per modality learn; the encoders stay as they were pretrained.

    `modalities` are the two that are fused; None where the experiment has two. The other settings are the options of
    the fusion `prompts`. With `towers="unimodal"` the encoders and heads are those of the uni-modal stages, which come
    first then: for encoders without pretrained weights. Source: Li et al., CVPR 2023.
    """
    chosen = _two(context, modalities)
    first = [unimodal_stage(context, name) for name in chosen] if towers == "unimodal" else []
    options = {
        "num_fused": num_fused,
        "num_query": num_query,
        "num_query_context": num_query_context,
        "num_fusion_context": num_fusion_context,
        "width": width,
    }
    stage = StageConfig(
        name="pmf",
        modalities=chosen,
        train=("fusion", "*.head"),
        start=tuple(one.name for one in first),
        fusion=FusionConfig(name="prompts", options=options),
        training=changed(context.joint_from_start, training),
    )
    return [*first, stage]


def _two(context: MethodContext, modalities: tuple[str, str] | None) -> tuple[str, ...]:
    """The two modalities, in the order of the experiment."""
    context.check(modalities or ())
    chosen = tuple(name for name in context.modalities if modalities is None or name in modalities)
    if len(chosen) != 2:
        raise ValueError(
            f"Prompts join two modalities; the experiment has {', '.join(context.modalities)}. Name two with the "
            "setting `modalities`."
        )
    return chosen
