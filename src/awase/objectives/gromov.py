"""Which items of two modalities belong together where only a few pairs are known, from how each side lies by itself."""

import warnings
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

MOST_OFF = 0.01
"""How far, in the sum of the absolute differences, the marginals of a plan may be off."""


@torch.no_grad()
def fused_gromov_wasserstein(
    x: Float[Tensor, "rows dim_x"],
    y: Float[Tensor, "columns dim_y"],
    known_x: Float[Tensor, "known dim_x"],
    known_y: Float[Tensor, "_ dim_y"],
    *,
    alpha: float = 0.5,
    epsilon: float = 0.01,
    iterations: int = 200,
) -> Float[Tensor, "rows columns"]:
    """A plan between unpaired x and y, in float32 at least; rows sum to 1 / rows, columns to 1 / columns.

    With the cosine distances D within x, E within y, and D' (rows, known), E' (columns, known) to the known pairs:

        min_P  alpha sum (D_ii' - E_jj')^2 P_ij P_i'j' + (1 - alpha) sum M_ij P_ij - epsilon H(P)
        M_ij = mean_k (D'_ik - E'_jk)^2

    x and y need not have the same width and are never compared with each other: what pairs them is that they lie
    likewise, to their own side and to the known pairs. M is what the first sum would be if it paired with the known
    pairs alone. No gradient. The problem is not convex: the plan found is a local one, reached from the product of the
    marginals. Without a known pair it is also ambiguous (every symmetry of the two sides gives a plan as good), so none
    is refused. Known pairs that a symmetry leaves in place do not help: rounding then decides between its images, and
    the plan looks sure of either.

    Solved by POT (`pip install 'awase[transport]'`), projected gradients with Sinkhorn, in float64, on the device of x.
    Raises `ModuleNotFoundError` without POT; `ValueError` for no known pair, an alpha outside [0, 1], an epsilon not
    above 0 or so small that POT finds no plan (it works without logarithms), less than one iteration, and NaN.
    Source: Vayer et al., ICML 2019 (fused); Peyré et al., ICML 2016 (entropic); the distances to known pairs as
    coordinates: Moschella et al., ICLR 2023.
    """
    _check(x, y, known_x, known_y, alpha, epsilon, iterations)
    ot = _pot()
    if len(x) == 0 or len(y) == 0:
        return x.new_zeros(len(x), len(y), dtype=torch.promote_types(x.dtype, torch.float32))
    within_x, within_y = _cosine_distances(x, x), _cosine_distances(y, y)
    to_known = _cosine_distances(x, known_x)[:, None] - _cosine_distances(y, known_y)  # (rows, columns, known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a plan that is none is refused below
        plan: Tensor = ot.gromov.entropic_fused_gromov_wasserstein(
            to_known.square().mean(dim=-1),
            within_x,
            within_y,
            epsilon=epsilon,
            symmetric=True,
            alpha=alpha,
            max_iter=iterations,
        )
    off = (plan.sum(dim=1) - 1 / len(x)).abs().sum() + (plan.sum(dim=0) - 1 / len(y)).abs().sum()
    if not float(off) <= MOST_OFF:
        raise ValueError(f"No plan was found; a larger epsilon (or more iterations) may find one; given: {epsilon=}.")
    return plan.to(torch.promote_types(x.dtype, torch.float32))


def _check(
    x: Tensor, y: Tensor, known_x: Tensor, known_y: Tensor, alpha: float, epsilon: float, iterations: int
) -> None:
    if len(known_x) == 0 or len(known_x) != len(known_y):
        raise ValueError(
            "Aligning two modalities needs at least one known pair, as many items of one side as of the other: without "
            f"any the plan is ambiguous; given: {len(known_x)} and {len(known_y)}."
        )
    if not 0 <= alpha <= 1 or not epsilon > 0 or iterations < 1:
        raise ValueError(
            "alpha is in [0, 1], epsilon above 0, and iterations at least 1; "
            f"given: {alpha=}, {epsilon=}, {iterations=}."
        )
    if not all(bool(rows.isfinite().all()) for rows in (x, y, known_x, known_y)):
        raise ValueError("Items to align are finite numbers; some of those given are not.")


def _cosine_distances(a: Tensor, b: Tensor) -> Tensor:
    return 1 - F.normalize(a.double(), dim=1) @ F.normalize(b.double(), dim=1).T


def _pot() -> ModuleType:
    """POT is large and is imported where it is used."""
    try:
        import ot
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Gromov-Wasserstein alignment needs POT, which is not installed: pip install 'awase[transport]'."
        ) from error
    module: ModuleType = ot
    return module
