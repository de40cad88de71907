"""MMLoRA: uni-modal fine-tuning, then adapters in some or all frozen encoders, trained on the mean of the outputs."""

from awase.config import AdapterConfig, FusionConfig, Node, ObjectiveConfig, StageConfig
from awase.methods.context import Changes, MethodContext, changed, unimodal_stages


def mmlora(
    context: MethodContext,
    rank: int | dict[str, int] = 4,
    alpha: float | None = None,
    targets: str | tuple[str, ...] = "default",
    modalities: tuple[str, ...] | None = None,
    dropout: float = 0.0,
    last_layers: int | None = None,
    heads: bool = True,
    modality_losses: bool = False,
    training: Changes | None = None,
) -> list[Node]:
    """Stage 1 fine-tunes each modality alone; stage 2 trains LoRA in `modalities` (all by default) and the heads.

    W' = W + (alpha / rank) B A with B = 0 at first, so that stage 2 begins exactly at UME; the loss is taken of the
    mean of the logits. Controls: `rank=0` (heads only), `modality_losses` (the same adapters, each trained on its own
    modality's loss). A late mean is additive: it cannot represent synergy between modalities.
    """
    chosen = context.modalities if modalities is None else modalities
    context.check(chosen)
    ranks = _ranks(rank, chosen)
    adapters = {
        name: AdapterConfig(targets=targets, rank=r, alpha=alpha, dropout=dropout, last_layers=last_layers)
        for name, r in ranks.items()
        if r > 0
    }
    train = (*(f"{name}.adapter" for name in adapters), *(("*.head",) if heads else ()))
    if not train:
        raise ValueError("MMLoRA with rank 0 and heads=False trains nothing; set a rank above 0 or heads=True.")
    first = unimodal_stages(context)
    stage = StageConfig(
        name="mmlora",
        modalities=context.modalities,
        train=train,
        start=tuple(stage.name for stage in first),
        fusion=FusionConfig(name="late_mean"),
        adapters=adapters,
        objective=ObjectiveConfig(fused_weight=0.0, modality_weight=1.0) if modality_losses else ObjectiveConfig(),
        training=changed(context.joint, training),
    )
    return [*first, stage]


def _ranks(rank: int | dict[str, int], chosen: tuple[str, ...]) -> dict[str, int]:
    ranks = dict.fromkeys(chosen, rank) if isinstance(rank, int) else rank
    unknown = sorted(set(ranks) - set(chosen))
    if unknown:
        raise ValueError(f"There is a rank for {', '.join(unknown)}; the adapted modalities are {', '.join(chosen)}.")
    if any(value < 0 for value in ranks.values()):
        raise ValueError(f"A rank is 0 (no adapter) or more; these are {ranks}.")
    return {name: ranks.get(name, 0) for name in chosen}
