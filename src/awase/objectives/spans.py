"""Contrastive losses of an anchor and items of several embeddings: what they span is small where they belong together.

Sample i is an anchor x_i and an item of one embedding per other modality. Vectors count by their direction, and those
of zeros as at right angles to all. A sample that is not `present` has the loss 0 and is nobody's negative, as in
`contrastive`; an item is compared whole, so that `present` means that no part of the sample is missing. All scores come
from products of two sets of embeddings; nothing of the size batch x batch x dim is made.
"""

from dataclasses import replace

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from awase.distributed import ALONE, World, gather_rows
from awase.objectives.presence import without_absent
from awase.objectives.similarities import Scalar, Similarities, checked_temperature, cosines

FLOOR = 1e-6
"""Added under every root, some ten times the rounding of float32 at 1: where nothing is spanned, the gradient is 0."""


def triangle_area(
    x: Float[Tensor, "batch dim"],
    y: Float[Tensor, "batch dim"],
    z: Float[Tensor, "batch dim"],
    *,
    temperature: Scalar = 0.07,
    present: Bool[Tensor, " batch"] | None = None,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """The mean of -log softmax_row(-A / temperature)_ii and -log softmax_column(-A / temperature)_ii.

    A_ij is the area of the triangle with the corners x_i, y_j, z_j on the unit sphere, between 0 and 3 sqrt(3) / 4:
    A = 1/2 sqrt(<u, u> <v, v> - <u, v>^2 + `FLOOR`), u = x - y, v = x - z. It is 0 too where two corners coincide and
    the third is anywhere: losses of the pairs beside this one tell these cases apart. A temperature that is a tensor
    gets a gradient. Raises `ValueError` for a number that is not above 0.
    Source: TRIANGLE (NeurIPS 2025); the floor is ours.
    """
    near = cosines(x, y, present, world)
    # <u, u> = 2a, <v, v> = 2b, <v - u, v - u> = 2c, and <u, v> = a + b - c.
    a, b = 1 - near.scores, 1 - cosines(x, z, present, world).scores
    c = 1 - gather_rows((_units(y, present) * _units(z, present)).sum(dim=1), world)
    areas = 0.5 * _root(4 * a * b - (a + b - c).square())
    return _contrast(near, areas, temperature)


def _contrast(like: Similarities, sizes: Float[Tensor, "rows columns"], temperature: Scalar) -> Float[Tensor, " rows"]:
    """The smaller the better, as cross entropy in both directions, at a temperature."""
    pairs = replace(like, scores=sizes * (-1 / checked_temperature(temperature)))
    pairs.hide_absent_()
    return pairs.finish(0.5 * pairs.both_ways())


def _root(squares: Tensor) -> Tensor:
    # Rounding may bring a square below zero.
    return (squares.clamp_min(0) + FLOOR).sqrt()


def _units(rows: Tensor, present: Tensor | None) -> Tensor:
    return F.normalize(without_absent(rows, present), dim=1)
