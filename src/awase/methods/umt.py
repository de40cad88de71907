"""UMT: joint training that distils frozen uni-modal teachers, and the rule that chooses between it and UME."""

from awase.config import DeriveConfig, FusionConfig, Node, ObjectiveConfig, StageConfig
from awase.methods.context import Changes, MethodContext, changed, unimodal_stages
from awase.methods.joint import linear_stage, trained_parts


def umt(
    context: MethodContext, distillation: float = 10.0, choose: bool = False, training: Changes | None = None
) -> list[Node]:
    """Uni-modal stages, then joint training from the start: CE(z, y) + w sum_m mean_d (h_m - t_m)^2.

    h_m are the features before the fusion, a linear layer on their concatenation, t_m those of the frozen uni-modal
    stage of m, which have the same size; w is `distillation`, 10 as in BalanceBenchmark (the paper's own weight is not
    known to us). `choose`: UMT is trained only where a linear classifier on the frozen uni-modal features, trained as
    the experiment's joint stages are, is better on validation than the uni-modal ensemble; else the ensemble is the
    result. Source: Du et al., ICML 2023.
    """
    first = unimodal_stages(context)
    names = tuple(stage.name for stage in first)
    stage = StageConfig(
        name="umt",
        modalities=context.modalities,
        train=trained_parts("concat"),
        fusion=FusionConfig(name="concat"),
        objective=ObjectiveConfig(distillation=distillation),
        teachers=names,
        only_if={"choice": "umt"} if choose else {},
        training=changed(context.joint_from_start, training),
    )
    return [*first, *(_choice(context, first) if choose else []), stage]


def _choice(context: MethodContext, first: list[StageConfig]) -> list[Node]:
    """The linear classifier on frozen features, the ensemble, and which of them is better."""
    ensemble = StageConfig(
        name="ume",
        modalities=context.modalities,
        start=tuple(stage.name for stage in first),
        fusion=FusionConfig(name="late_mean", options={"of": "logits"}),
    )
    decision = DeriveConfig(
        name="choice",
        function="better_of",
        stages=("linear", "ume"),
        options={"choices": {"umt": "linear", "ume": "ume"}, "default": "ume"},
    )
    return [linear_stage(context, first, context.joint), ensemble, decision]
