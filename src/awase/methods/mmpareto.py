"""MMPareto: joint training in which an encoder's multi-modal and uni-modal gradients never work against each other."""

from typing import Literal

from awase.config import FusionConfig, Node
from awase.methods.balanced_stage import balanced_stage
from awase.methods.context import Changes, MethodContext


def mmpareto(
    context: MethodContext,
    gamma: float = 1.5,
    fusion: Literal["concat", "mlp", "film", "gated"] = "concat",
    training: Changes | None = None,
) -> list[Node]:
    """All encoders from the start, the loss of the fusion and of one more head per modality, gradients combined.

    An encoder's two gradients are added where they agree and replaced by their min-norm combination where they
    conflict; `gamma` multiplies the result. The published run: SGD at 2e-3, momentum 0.9, weight decay 1e-4, batches
    of 64, 50 epochs, a constant rate; here the training is the experiment's joint one, as for every method.
    """
    chosen = FusionConfig(name=fusion)
    return [balanced_stage(context, chosen, "mmpareto", {"gamma": gamma}, training, own_heads=True)]
