"""One modality alone."""

from awase.config import Node
from awase.methods.context import Changes, MethodContext, changed, unimodal_stage


def unimodal(context: MethodContext, modality: str, training: Changes | None = None) -> list[Node]:
    """Fine-tunes the encoder of `modality` and a linear head on it; the first stage of every staged method."""
    context.check((modality,))
    stage = unimodal_stage(context, modality)
    return [stage.model_copy(update={"training": changed(stage.training, training)})]
