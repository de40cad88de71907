"""C-CLIP's contrastive knowledge consolidation: every embedding is told apart from all others of the old model."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.distributed import ALONE, World
from awase.objectives.contrastive import info_nce
from awase.objectives.presence import everyone
from awase.objectives.similarities import Scalar


def ckc(
    projected: Mapping[str, Float[Tensor, "batch dim"]],
    old: Mapping[str, Float[Tensor, "batch dim"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    *,
    temperature: Scalar = 0.07,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """`info_nce` of [h_m1; h_m2; ...] and [z_m1; z_m2; ...]: the rows of all modalities of `old` below each other.

    h: the new model's embeddings after a projector, which the caller owns and trains; z: the old model's, without
    gradient. Of two modalities 2B rows against 2B: the old embedding of the same sample in the other modality is a
    negative too. A sample has the mean over the modalities, and the mean over all samples of all processes is that over
    the rows present; a row that is absent is 0 and nobody's negative.
    Source: C-CLIP (ICLR 2025), equation 5, read as 2B rows; joining each sample's two embeddings into one row of twice
    the width is another reading of it.
    """
    names = list(old)
    new, before = (torch.cat([rows[name] for name in names]) for rows in (projected, old))
    here = None
    if any(present[name] is not None for name in names):
        here = torch.cat([everyone(old[name], present[name]) for name in names])
    losses = info_nce(new, before.detach(), temperature=temperature, present=here, world=world)
    return losses.view(len(names), len(old[names[0]])).mean(dim=0)
