"""Losses of samples some of which lack what the loss is about."""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.distributed import World


def over_present(
    losses: Float[Tensor, " batch"], present: Bool[Tensor, " batch"] | None, world: World
) -> Float[Tensor, " batch"]:
    """The losses such that their mean over all samples of all processes is the mean over those present.

    l_i (samples / present samples) where sample i is present, counted over all processes, and exactly 0 elsewhere;
    nothing but zeros where none is. `None`: all of this process are present.
    """
    if present is None and world.size == 1:
        return losses
    present = everyone(losses, present)
    counts = torch.stack([present.new_full((), len(losses), dtype=torch.float32), present.sum().float()])
    world.sum_([counts])
    scale = counts[0] / counts[1].clamp_min(1)
    return torch.where(present, losses * scale.to(losses.dtype), torch.zeros_like(losses))


def everyone(rows: Float[Tensor, "batch *rest"], present: Bool[Tensor, " batch"] | None) -> Bool[Tensor, " batch"]:
    """`present`, or that every row is."""
    return torch.ones(len(rows), dtype=torch.bool, device=rows.device) if present is None else present


def all_of(masks: Iterable[Bool[Tensor, " batch"] | None]) -> Bool[Tensor, " batch"] | None:
    """Which samples all of the masks have; None, which has all samples, where every mask is None."""
    found: Tensor | None = None
    for mask in masks:
        if mask is not None:
            found = mask if found is None else found & mask
    return found


def without_absent(
    rows: Float[Tensor, "batch *rest"], present: Bool[Tensor, " batch"] | None
) -> Float[Tensor, "batch *rest"]:
    """The rows in float32 at least, those that are absent zero, whatever they held: no NaN and no gradient passes."""
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    if present is None:
        return rows
    return torch.where(present.view(-1, *[1] * (rows.dim() - 1)), rows, torch.zeros_like(rows))
