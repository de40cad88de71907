"""G-Blending: a loss per modality and one of all, weighted by how well each generalises against how it overfits."""

from awase.config import DeriveConfig, FusionConfig, Node, StageConfig, TrainConfig
from awase.methods.context import Changes, MethodContext, changed
from awase.methods.joint import trained_parts

JOINT = "joint"
"""What the head on all modalities is called in the names of the measuring stages."""


def gradient_blending(context: MethodContext, training: Changes | None = None) -> list[Node]:
    """Offline G-Blending: the weights are measured once, over a whole training of each modality and of all together.

    Each modality with its head, and all encoders with the fusion, are trained from the start, as the last stage is,
    and kept as they are after the last epoch; each has G, by how much its validation loss fell, and O, by how much the
    gap between validation and training loss grew. The last stage trains all from the start on
    sum_k w_k CE(z_k, y), w_k ~ G_k / O_k^2, with a linear layer on the concatenated features and a head of its own per
    modality. Source: Wang, Tran and Feiszli, CVPR 2020.
    """
    config = changed(context.joint_from_start, training)
    measured = [_measuring(context, head, config, (), "") for head in (JOINT, *context.modalities)]
    return [*measured, _decision(context, "weights", ""), _blended(context, "blended", "weights", (), config)]


def gradient_blending_online(
    context: MethodContext, super_epoch: int = 10, training: Changes | None = None
) -> list[Node]:
    """Online G-Blending: the weights are measured anew every `super_epoch` epochs, from the model as it then is.

    A super-epoch: from the current model each modality with its head, and all encoders with the fusion, are trained
    alone for its epochs, which gives the weights; then the current model is trained for as many epochs with them. The
    cost is that of M + 2 trainings. The last super-epoch is shorter where the epochs do not divide. A super-epoch
    begins with a new optimiser; the rate is constant and without warm-up, unless `training` says else, for instance
    `{"schedule": "cosine"}`, which then starts again in every super-epoch. All but the last one keep the weights of
    their last epoch, since the training goes on from there. Source: Wang, Tran and Feiszli, CVPR 2020.
    """
    if super_epoch < 1:
        raise ValueError(f"A super-epoch of G-Blending has 1 or more epochs; this is {super_epoch}.")
    whole = changed(changed(context.joint_from_start, {"schedule": "constant", "warmup_epochs": 0.0}), training)
    nodes: list[Node] = []
    start: tuple[str, ...] = ()
    for number, first in enumerate(range(0, whole.epochs, super_epoch), start=1):
        config = whole.model_copy(update={"epochs": min(super_epoch, whole.epochs - first)})
        mark = f"-{number}"
        nodes += [_measuring(context, head, config, start, mark) for head in (JOINT, *context.modalities)]
        nodes.append(_decision(context, f"weights{mark}", mark))
        kept = config if first + super_epoch >= whole.epochs else _to_the_end(config)
        nodes.append(_blended(context, f"blended{mark}", f"weights{mark}", start, kept))
        start = (f"blended{mark}",)
    return nodes


def _measuring(
    context: MethodContext, head: str, config: TrainConfig, start: tuple[str, ...], mark: str
) -> StageConfig:
    """The stage that trains one head and what is below it, and measures its loss before and after."""
    alone = head != JOINT
    return StageConfig(
        name=f"measure-{head}{mark}",
        modalities=(head,) if alone else context.modalities,
        train=(f"{head}.encoder", f"{head}.head") if alone else trained_parts("concat"),
        start=start,
        fusion=FusionConfig(name="late_mean" if alone else "concat"),
        training=_to_the_end(config),
        measure_ends=True,
    )


def _to_the_end(config: TrainConfig) -> TrainConfig:
    """The training with the weights of its last epoch kept, and all its epochs run."""
    return config.model_copy(update={"select": "last", "early_stopping": None})


def _decision(context: MethodContext, name: str, mark: str) -> DeriveConfig:
    """The weights, from what the measuring stages of the same mark found."""
    stages = {name: f"measure-{name}{mark}" for name in context.modalities}
    return DeriveConfig(
        name=name,
        function="blend_weights",
        stages=(f"measure-{JOINT}{mark}", *stages.values()),
        options={"joint": f"measure-{JOINT}{mark}", "modalities": dict(stages)},
    )


def _blended(
    context: MethodContext, name: str, weights: str, start: tuple[str, ...], config: TrainConfig
) -> StageConfig:
    """The stage that trains everything on the weighted losses."""
    return StageConfig(
        name=name,
        modalities=context.modalities,
        train=trained_parts("concat", own_heads=True),
        start=start,
        fusion=FusionConfig(name="concat"),
        own_heads=True,
        derived={"objective": weights},
        training=config,
    )
