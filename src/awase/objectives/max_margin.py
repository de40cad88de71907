"""The ranking loss of HowTo100M: a matching pair is more similar than every other pair of its row and column."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from awase.distributed import ALONE, World, gather_constant
from awase.objectives.similarities import Similarities, cosines


def max_margin(
    x: Float[Tensor, "batch dim"],
    y: Float[Tensor, "batch dim"],
    *,
    margin: float = 0.1,
    group: Int[Tensor, " batch"] | None = None,
    hard_share: float = 0.5,
    present: Bool[Tensor, " batch"] | None = None,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """(1/B) sum_j w_ij [max(0, margin + C_ij - C_ii) + max(0, margin + C_ji - C_ii)], C the cosine similarities.

    As in the released code j = i is counted too: a constant of 2 w_ii margin / B.
    Without `group` every weight is 1. With it (the video of each clip, say) the other samples of a sample's own group
    weigh `hard_share` together and the rest 1 - `hard_share`: w_ij = hard_share B / n_i inside and
    (1 - hard_share) B / (B - n_i) outside, n_i samples in the group of i. For groups of equal size that is the
    intra-video weighting of the released code; the form for unequal ones is ours. Where a group is everything, the
    weights are 1.
    Raises `ValueError` for a share outside [0, 1].
    Source: Miech et al., ICCV 2019, and the released code.
    """
    if not 0 <= hard_share <= 1:
        raise ValueError(f"The weight of a sample's own group is a share in [0, 1]; given: {hard_share}.")
    pairs = cosines(x, y, present, world)
    pairs.hide_absent_()
    matching = pairs.matching
    all_matching = pairs.everywhere(matching)
    rows = F.relu(margin + pairs.scores - matching[:, None])
    columns = F.relu(margin + pairs.scores - all_matching)
    if group is not None:
        of_rows, of_columns = _weights(pairs, group, hard_share)
        rows, columns = rows * of_rows, columns * of_columns
    return pairs.finish((rows.sum(dim=1) + pairs.sum_columns(columns)) / pairs.num_present)


@torch.no_grad()
def _weights(
    pairs: Similarities, group: Int[Tensor, " rows"], hard_share: float
) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]]:
    """w_ij, and w_ji, for every pair of an own sample i and a sample j of all processes."""
    inside = group[:, None] == gather_constant(group, pairs.world)  # (rows, columns)
    members = inside if pairs.all_present is None else inside & pairs.all_present
    size, total = members.sum(dim=1).to(pairs.scores.dtype), pairs.num_present  # (rows,)
    only = size == total
    near = torch.where(only, torch.ones_like(size), hard_share * total / size.clamp_min(1))
    far = torch.where(only, torch.ones_like(size), (1 - hard_share) * total / (total - size).clamp_min(1))
    all_near, all_far = gather_constant(near, pairs.world), gather_constant(far, pairs.world)
    return torch.where(inside, near[:, None], far[:, None]), torch.where(inside, all_near, all_far)
