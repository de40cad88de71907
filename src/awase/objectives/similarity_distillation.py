"""Keeping the relations of a frozen space while its embeddings move."""

from jaxtyping import Bool, Float
from torch import Tensor

from awase.distributed import ALONE, World
from awase.objectives.similarities import Scalar, checked_temperature, cosines

Sides = tuple[Float[Tensor, "batch _"], Float[Tensor, "batch _"]]
"""x and y, sample i of one belonging to sample i of the other."""


def similarity_distillation(
    new: Sides,
    old: Sides,
    *,
    temperature: Scalar = 0.07,
    softening: float = 1.0,
    present: Bool[Tensor, " batch"] | None = None,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """T^2 / 2 (KL(row_i of P || row_i of Q) + KL(column_i of P || column_i of Q)) of sample i, T being `softening`.

    P is the softmax of C / (temperature T) over rows or columns, C the cosines of the `old` x and y; Q that of the
    `new` ones. Both are over the samples of all processes; no gradient reaches the old ones. The two spaces may have
    different dimensions. Samples that are not `present` have the loss 0 and are in no softmax, the others are scaled as
    in `contrastive`. A temperature that is a tensor gets a gradient from Q alone. Raises `ValueError` for a temperature
    that is not above 0, and for a softening that is not.
    Source: ZSCL (Zheng et al., ICCV 2023), there with T = 2 and as cross entropy, whose gradient is the same.
    """
    if softening <= 0:
        raise ValueError(f"Softening is above 0; given: {softening}.")
    scale = 1 / (checked_temperature(temperature) * softening)
    fixed = scale.detach() if isinstance(scale, Tensor) else scale
    ours = cosines(*new, present, world, scale)
    theirs = cosines(old[0].detach(), old[1].detach(), present, world, fixed)
    ours.hide_absent_()
    theirs.hide_absent_()
    rows = _divergence(theirs.log_softmax_rows(), ours.log_softmax_rows()).sum(dim=1)
    columns = theirs.sum_columns(_divergence(theirs.log_softmax_columns(), ours.log_softmax_columns()))
    return ours.finish(0.5 * softening**2 * (rows + columns))


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    return log_p.exp() * (log_p - log_q)
