"""AGM: joint training with the gradient through each modality's share of the logits modulated."""

from awase.config import BalancingConfig, FusionConfig, Node, StageConfig
from awase.methods.context import Changes, MethodContext, changed
from awase.methods.joint import JointFusion, trained_parts


def agm(
    context: MethodContext, alpha: float = 1.5, fusion: JointFusion = "concat", training: Changes | None = None
) -> list[Node]:
    """All encoders and the fusion from the start, the gradient through a modality's Shapley share times kappa_m.

    `alpha` is how strongly a modality that lags behind its running mean is favoured; the authors chose it per data
    set, 1.5 for CREMA-D. Works with every fusion in which the modalities do not meet inside the encoders.
    """
    stage = StageConfig(
        name="agm",
        modalities=context.modalities,
        train=trained_parts(fusion),
        fusion=FusionConfig(name=fusion),
        balancing=BalancingConfig(name="agm", options={"alpha": alpha}),
        training=changed(context.joint_from_start, training),
    )
    return [stage]
