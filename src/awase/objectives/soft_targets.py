"""Targets that say how much each sample of one modality belongs to each of the other, instead of the known pairs alone.

A function of this file is what `info_nce` takes as `targets`: with `functools.partial` for other options.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.objectives.presence import everyone
from awase.objectives.transport import partial_plan, transport_plan

Targets = Callable[..., Float[Tensor, "samples samples"]]
"""(scores, *, present) -> targets, of the samples of all processes; sample i of both sides is a known pair."""


@torch.no_grad()
def soft_targets(
    scores: Float[Tensor, "samples samples"],
    *,
    beta: float = 0.3,
    epsilon: float = 1.0,
    iterations: int = 50,
    present: Bool[Tensor, " samples"] | None = None,
) -> Float[Tensor, "samples samples"]:
    """(1 - beta) I + beta n P of n present samples, P the `transport_plan` of their scores with uniform marginals.

    Rows sum to 1, columns nearly. No gradient. Scores are logits: epsilon is 1 for what a softmax is taken of (cosines
    divided by the temperature, say), not for cosines. Absent samples are all 0 and may hold anything.
    Raises `ValueError` for a beta outside [0, 1], and as `transport_plan` does.
    Source: Lin et al., ICLR 2024 (Norton), whose numbers are the defaults; its features are not normalised.
    """
    _check_share("beta", beta)
    here = everyone(scores, present).to(torch.promote_types(scores.dtype, torch.float32))
    count = here.sum()
    marginal = here / count.clamp_min(1)
    plan = transport_plan(
        scores, epsilon=epsilon, iterations=iterations, row_marginal=marginal, column_marginal=marginal
    )
    return (1 - beta) * here.diag() + beta * count * plan


@torch.no_grad()
def partial_targets(
    scores: Float[Tensor, "samples samples"],
    *,
    beta: float = 0.3,
    quantile: float = 0.3,
    epsilon: float = 0.1,
    iterations: int = 50,
    present: Bool[Tensor, " samples"] | None = None,
) -> Float[Tensor, "samples samples"]:
    """(1 - beta) diag(w) + beta P, P the `partial_plan` of the scores, w_i the less that row i and column i of it keep.

    The bucket (Norton's alignable prompt) scores as the `quantile` of the known pairs' scores does: what fits nothing
    better goes there. Rows and columns of P sum to what they keep, at most 1, so a caption that matches nothing has
    little weight, in its own pair and in the rows of others, and one that matches another sample's clip has it there.
    No gradient. `epsilon` is in the units of the scores: 0.1 as given by Norton for its similarities; of cosines
    divided by a temperature it is 0.1 / temperature. Absent samples are all 0 and may hold anything.
    Raises `ValueError` for a beta or quantile outside [0, 1], and as `transport_plan` does.
    Source: the plan, its bucket and numbers: Lin et al., ICLR 2024 (Norton), where they compare clips with captions
    within a pair of videos; its use as targets, with `beta` and w, is ours.
    """
    _check_share("beta", beta)
    _check_share("quantile", quantile)
    here = everyone(scores, present)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    bucket = scores.diagonal().masked_fill(~here, torch.nan).nanquantile(quantile)
    plan = partial_plan(scores, bucket, epsilon=epsilon, iterations=iterations, row_present=here, column_present=here)
    kept = torch.minimum(plan.sum(dim=0), plan.sum(dim=1))
    return (1 - beta) * kept.diag() + beta * plan


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"The {name} of soft targets is a share in [0, 1]; given: {value}.")
