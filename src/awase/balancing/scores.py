"""What a modality's own logits know: the quantity by which the rules tell a strong modality from a weak one."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from awase.balancing.rule import Presence, RuleContext
from awase.fusion import FUSIONS


def target_scores(
    logits: Float[Tensor, "*more batch classes"], targets: Shaped[Tensor, "batch *classes"], multi_label: bool
) -> Float[Tensor, "*more batch"]:
    """The softmax probability of each sample's target; for a distribution over classes its expectation.

    Several labels per sample, zeros and ones: the mean over classes of the sigmoid's probability of what is true.
    """
    if multi_label:
        return torch.where(targets > 0.5, logits.sigmoid(), (-logits).sigmoid()).mean(dim=-1)
    probabilities = logits.softmax(dim=-1)
    if targets.dim() == 1:
        return probabilities.gather(-1, targets.expand(logits.shape[:-1])[..., None]).squeeze(-1)
    return (probabilities * targets).sum(dim=-1)


@torch.no_grad()
def score_sums(
    logits: Mapping[str, Float[Tensor, "batch classes"]],
    present: Presence,
    targets: Shaped[Tensor, "batch *classes"],
    multi_label: bool,
) -> Float[Tensor, "2 modalities"]:
    """Per modality, in the order of `logits`: the sum of `target_scores` of the samples that have it; their number."""
    scores = target_scores(torch.stack(list(logits.values())), targets, multi_label).float()  # (modalities, batch)
    kept = torch.ones_like(scores)
    for number, name in enumerate(logits):
        rows = present[name]
        if rows is not None:
            kept[number] = rows
    return torch.stack([scores * kept, kept]).sum(dim=2)


def ratios_to_others(
    scores: Float[Tensor, " modalities"], seen: Bool[Tensor, " modalities"]
) -> tuple[Float[Tensor, "modalities modalities"], Bool[Tensor, "modalities modalities"]]:
    """(s_m / s_j, which pairs are compared: m differs from j and both are `seen`); zero for the other pairs.

    Equal scores give exactly one, and zeros NaN.
    """
    alone = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    pairs = seen[:, None] & seen & ~alone
    return (scores[:, None] / scores).masked_fill(~pairs, 0.0), pairs


def check_modalities(context: RuleContext, rule: str) -> None:
    """Raises `ValueError` for a model of one modality: there is nothing to balance."""
    if len(context.model.modalities) < 2:
        raise ValueError(
            f"The balancing rule {rule!r} compares modalities, and the stage has only "
            f"{', '.join(context.model.modalities)}; it needs two or more."
        )


def check_modality_logits(context: RuleContext, rule: str) -> None:
    """Raises `ValueError` for a model of one modality, or without logits per modality."""
    check_modalities(context, rule)
    if not context.model.fusion.splits and not context.model.heads:
        fit = ", ".join(sorted(name for name, kind in FUSIONS.items() if kind.splits))
        raise ValueError(
            f"The balancing rule {rule!r} needs logits per modality, and this fusion does not split into them; "
            f"use one of the fusions {fit}, or own_heads=True with a weight on each modality's loss."
        )


def check_epochs(start_epoch: int, end_epoch: int, rule: str) -> None:
    """Raises `ValueError` unless 0 <= start_epoch <= end_epoch."""
    if not 0 <= start_epoch <= end_epoch:
        raise ValueError(
            f"The balancing rule {rule!r} acts in the epochs from start_epoch to end_epoch, both included and counted "
            f"from 0; given: {start_epoch} to {end_epoch}."
        )
