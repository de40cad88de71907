"""Clusters of equal size."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from awase.objectives.presence import everyone
from awase.objectives.similarities import FAR
from awase.objectives.sinkhorn import potentials


@torch.no_grad()
def balanced_assignment(
    similarities: Float[Tensor, "rows clusters"],
    *,
    epsilon: float = 0.05,
    iterations: int = 3,
    present: Bool[Tensor, " rows"] | None = None,
) -> tuple[Float[Tensor, "rows clusters"], Int[Tensor, " rows"]]:
    """How much of each row belongs to each cluster when all clusters are of equal size, and the greatest share's.

    Rows sum to 1, columns nearly to rows / clusters. Absent rows take no part: all zero, with the label -1.
    Source: Caron et al., NeurIPS 2020 (SwAV), with its epsilon and iterations; `similarities` are cosines there.
    """
    here = everyone(similarities, present)
    num_clusters = similarities.shape[1]
    if len(here) == 0:
        return similarities.float(), torch.zeros(0, dtype=torch.long, device=similarities.device)
    logs = similarities.to(torch.promote_types(similarities.dtype, torch.float32)) / epsilon
    log_rows = (here / here.sum().clamp_min(1)).to(logs).log()
    log_columns = torch.full_like(logs[:1], 1 / num_clusters).log()
    hidden = logs.masked_fill(~here[:, None], FAR)
    _, v = potentials(hidden[None], log_rows[None], log_columns, iterations=iterations)
    # A row of the plan, divided by its sum.
    shares = (hidden + v).softmax(dim=1).masked_fill(~here[:, None], 0)
    return shares, shares.argmax(dim=1).masked_fill(~here, -1)
