"""Contrast as the inverse of optimal transport: the known pairs are the plan that the similarities should lead to."""

from jaxtyping import Bool, Float
from torch import Tensor

from awase.distributed import ALONE, World, gather_constant
from awase.objectives.presence import everyone
from awase.objectives.similarities import Scalar, cosines
from awase.objectives.sinkhorn import potentials


def transport_contrast(
    x: Float[Tensor, "batch dim"],
    y: Float[Tensor, "batch dim"],
    *,
    temperature: Scalar = 0.07,
    iterations: int = 50,
    present: Bool[Tensor, " batch"] | None = None,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """-log(n P_ii) of n present samples: their mean is KL(I / n || P), P the transport plan of the cosines C.

        -log(n P_ii) = -log softmax_row(C / temperature + v)_ii,  P = exp(C / temperature + u + v)

    Marginals are uniform; v are the columns' potentials after so many Sinkhorn `iterations` (columns, then rows), and u
    is one more half step over the rows. With 0 iterations v is 0 and this is one direction of InfoNCE,
    -log softmax_row(C / temperature)_ii; where they converge it is the same for (x, y) and (y, x). A candidate that all
    are similar to (a hub) gets a low v, and costs the others less than in InfoNCE.

    The gradient takes v as constant. That of the mean is (P - I / n) / temperature per cosine, which is the gradient of
    KL(I / n || P) with v's own dependence where the columns of P sum to 1 / n, and for 0 iterations; short of that it
    is off by about as much as the columns are. Every process solves the transport of all samples. `present` and `world`
    as in `objectives.contrastive`. Raises `ValueError` for a temperature, as a number, that is not above 0 and for a
    negative number of iterations.
    Source: Shi et al., ICML 2023, which has InfoNCE as the case of one half step.
    """
    if iterations < 0 or (not isinstance(temperature, Tensor) and temperature <= 0):
        raise ValueError(f"A temperature is above 0, iterations are 0 or more; given: {temperature=}, {iterations=}.")
    pairs = cosines(x, y, present, world, 1 / temperature)
    pairs.hide_absent_()
    scores = gather_constant(pairs.scores, world)
    here = everyone(scores, pairs.all_present).to(scores)
    marginal = (here / here.sum().clamp_min(1)).log()[None]
    v = potentials(scores[None], marginal, marginal, iterations=iterations)[1][0]  # (columns,)
    return pairs.finish((pairs.scores + v).logsumexp(dim=1) - pairs.matching - pairs.own(v))
