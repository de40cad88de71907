"""AGM: joint training with the gradient through each modality's share of the logits modulated."""

from awase.config import FusionConfig, Node
from awase.methods.balanced_stage import balanced_stage
from awase.methods.context import Changes, MethodContext
from awase.methods.joint import JointFusion


def agm(
    context: MethodContext, alpha: float = 1.5, fusion: JointFusion = "concat", training: Changes | None = None
) -> list[Node]:
    """All encoders and the fusion from the start, the gradient through a modality's Shapley share times kappa_m.

    `alpha` is how strongly a modality that lags behind its running mean is favoured; the authors chose it per data
    set, 1.5 for CREMA-D. Works with every fusion in which the modalities do not meet inside the encoders.
    """
    return [balanced_stage(context, FusionConfig(name=fusion), "agm", {"alpha": alpha}, training)]
