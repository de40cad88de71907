"""What a frozen model finds similar is found similar by the one that learns."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.distributed import ALONE, World
from awase.objectives.similarities import Scalar, cosines, inverse


def similarity_distillation(
    x: Float[Tensor, "batch dim"],
    y: Float[Tensor, "batch dim"],
    old_x: Float[Tensor, "batch old_dim"],
    old_y: Float[Tensor, "batch old_dim"],
    *,
    temperature: Scalar = 0.07,
    softening: float = 2.0,
    present: Bool[Tensor, " batch"] | None = None,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """T^2 / 2 [KL(P_i. || Q_i.) + KL(P_.i || Q_.i)], P and Q softmaxes of cosines / (temperature T), T the `softening`.

    P of the old similarities, without gradient, Q of the new ones; of row i, which y belongs to x_i, and of column i.
    0 where both matrices are equal, whatever the embeddings: the old dimension may be another. T^2 keeps the size of
    the gradient as T grows. A temperature that is a tensor gets the gradient of Q. `present` and `world` as in
    `objectives.contrastive`.
    With the embeddings of the old model it is learning without forgetting for a joint space, with T of ZSCL (Zheng et
    al., ICCV 2023, which takes the sum of both directions and the cross-entropy: the same gradient twice). With those
    of the shared space and T = 1 it is the tether of a combination's adapter, KL(shared || combination).
    Raises `ValueError` for a temperature or softening that is not above 0.
    """
    if softening <= 0:
        raise ValueError(f"The softening of a distillation is above 0; given: {softening}.")
    scale = inverse(temperature) / softening
    new = cosines(x, y, present, world, scale)
    new.hide_absent_()
    with torch.no_grad():
        old = cosines(old_x, old_y, present, world, scale)
        old.hide_absent_()
        old_rows, old_columns = old.logsumexp_rows(), old.logsumexp_columns()
        of_rows = (old.scores - old_rows[:, None]).exp()
        of_columns = (old.scores - old.everywhere(old_columns)).exp()
    lower = old.scores - new.scores
    rows = (of_rows * lower).sum(dim=1) - old_rows + new.logsumexp_rows()
    columns = new.sum_columns(of_columns * lower) - old_columns + new.logsumexp_columns()
    return new.finish(0.5 * softening**2 * (rows + columns))
