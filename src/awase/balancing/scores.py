"""What a modality's own logits know: the quantity by which the rules tell a strong modality from a weak one."""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from awase.balancing.rule import Presence, RuleContext
from awase.fusion import FUSIONS


def target_scores(
    logits: Float[Tensor, "batch classes"], targets: Shaped[Tensor, "batch *classes"], multi_label: bool
) -> Float[Tensor, " batch"]:
    """The softmax probability of each sample's target; for a distribution over classes its expectation.

    Several labels per sample, zeros and ones: the mean over classes of the sigmoid's probability of what is true.
    """
    if multi_label:
        return torch.where(targets > 0.5, logits.sigmoid(), (-logits).sigmoid()).mean(dim=1)
    probabilities = logits.softmax(dim=1)
    if targets.dim() == 1:
        return probabilities.gather(1, targets[:, None]).squeeze(1)
    return (probabilities * targets).sum(dim=1)


@torch.no_grad()
def score_sums(
    logits: dict[str, Float[Tensor, "batch classes"]],
    present: Presence,
    targets: Shaped[Tensor, "batch *classes"],
    multi_label: bool,
) -> Float[Tensor, "2 modalities"]:
    """Per modality, in the order of `logits`: the sum of `target_scores` of the samples that have it; their number."""
    sums, counts = [], []
    for name, own in logits.items():
        scores, rows = target_scores(own, targets, multi_label), present[name]
        kept = torch.ones_like(scores) if rows is None else rows.to(scores.dtype)
        sums.append((scores * kept).sum())
        counts.append(kept.sum())
    return torch.stack([torch.stack(sums), torch.stack(counts)]).float()


def ratios_to_others(
    scores: Float[Tensor, " modalities"], seen: Bool[Tensor, " modalities"]
) -> Float[Tensor, "modalities modalities"]:
    """s_m / s_j where m differs from j and both are `seen`; NaN elsewhere. Equal scores give exactly one."""
    alone = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    pairs = seen[:, None] & seen[None, :] & ~alone
    return (scores[:, None] / scores[None, :]).masked_fill(~pairs, torch.nan)


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
