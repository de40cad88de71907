"""Contrastive losses of an anchor and items of several embeddings: what they span is small where they belong together.

Sample i is an anchor x_i and an item of one embedding per other modality. Vectors count by their direction, and those
of zeros as at right angles to all. A sample that is not `present` has the loss 0 and is nobody's negative, as in
`contrastive`; an item is compared whole, so that `present` means that no part of the sample is missing. All scores come
from products of two sets of embeddings; nothing of the size batch x batch x dim is made.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from awase.distributed import ALONE, World, gather_rows
from awase.objectives.presence import without_absent
from awase.objectives.similarities import Scalar, Similarities, checked_temperature, cosines
from awase.products import product

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
    with _without_autocast(x):
        near, far = cosines(x, y, present, world), cosines(x, z, present, world)
    base = gather_rows((_units(y, present) * _units(z, present)).sum(dim=1), world)
    return _contrast(near, _areas(near.scores, far.scores, base), temperature)


def triangle_scores(
    x: Float[Tensor, "rows dim"], y: Float[Tensor, "columns dim"], z: Float[Tensor, "columns dim"], *, alpha: float
) -> Float[Tensor, "rows columns"]:
    """alpha cos(x_i, y_j) - A_ij, A the area of `triangle_area`: greater for what fits better.

    The negative of TRIANGLE's score at inference. The cosine is with y alone, the video where x is a text; the paper
    has alpha = 1 from text to audio and video, 0 back. Source: TRIANGLE (NeurIPS 2025).
    """
    x, y, z = (_units(rows, None) for rows in (x, y, z))
    with _without_autocast(x):
        near, far = product(x, y), product(x, z)
    return alpha * near - _areas(near, far, (y * z).sum(dim=1))


def volume(
    x: Float[Tensor, "batch dim"],
    *others: Float[Tensor, "batch dim"],
    temperature: Scalar = 0.07,
    smoothing: float = 0.0,
    present: Bool[Tensor, " batch"] | None = None,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """The mean of both directions' cross entropy of -V / temperature; the targets smoothed towards all alike.

    V_ij = sqrt(det G + `FLOOR`), in [0, 1] but for the floor, is the volume that x_i and the others' embeddings of
    sample j span; G holds the products of these k = 1 + len(others) unit vectors. With one other it is the sine of the
    angle, so that opposite vectors are as good as equal ones. `smoothing` s: the target of sample i is 1 - s for itself
    and s / n for each of the n samples present, itself among them. A temperature that is a tensor gets a gradient.
    Raises `ValueError` without others, for a temperature that is not above 0 and for a smoothing outside [0, 1].
    Source: GRAM (ICLR 2025); the floor is ours.
    """
    if not others:
        raise ValueError("A volume is that of an anchor and at least one other embedding; given: no other.")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"Smoothing is a share in [0, 1]; given: {smoothing}.")
    with _without_autocast(x):
        near = [cosines(x, other, present, world) for other in others]
        towards = torch.stack([one.scores for one in near], dim=-1)  # (rows, columns, others)
        units = torch.stack([_units(other, present) for other in others], dim=1)
        adjugate, determinant = (gather_rows(part, world) for part in _adjugate(units @ units.mT))
        # det [[1, t'], [t, H]] = det H - t' adj(H) t: polynomials, so that a singular H has a gradient too.
        squares = determinant - torch.einsum("rca,cab,rcb->rc", towards, adjugate, towards)
    return _contrast(near[0], _root(squares), temperature, smoothing)


def _areas(
    near: Float[Tensor, "rows columns"], far: Float[Tensor, "rows columns"], base: Float[Tensor, " columns"]
) -> Float[Tensor, "rows columns"]:
    """Of the cosines of x_i with y_j, of x_i with z_j and of y_j with z_j."""
    # <u, u> = 2a, <v, v> = 2b, <v - u, v - u> = 2c, and <u, v> = a + b - c.
    a, b, c = 1 - near, 1 - far, 1 - base
    return 0.5 * _root(4 * a * b - (a + b - c).square())


def _contrast(
    like: Similarities, sizes: Float[Tensor, "rows columns"], temperature: Scalar, smoothing: float = 0.0
) -> Float[Tensor, " rows"]:
    """The smaller the better, as cross entropy in both directions, at a temperature."""
    pairs = replace(like, scores=sizes * (-1 / checked_temperature(temperature)))
    pairs.hide_absent_()
    return pairs.finish(0.5 * pairs.both_ways(smoothing))


def _adjugate(
    matrices: Float[Tensor, "batch size size"],
) -> tuple[Float[Tensor, "batch size size"], Float[Tensor, " batch"]]:
    """The adjugates and determinants of small matrices without a division by either (Faddeev and LeVerrier)."""
    size = matrices.shape[-1]
    one = torch.eye(size, dtype=matrices.dtype, device=matrices.device)
    found = one.expand_as(matrices)
    for step in range(1, size):
        times = matrices @ found
        found = times - one * (times.diagonal(dim1=-2, dim2=-1).sum(dim=-1) / step)[:, None, None]
    sign = (-1) ** (size - 1)
    return sign * found, sign * (matrices @ found).diagonal(dim1=-2, dim2=-1).sum(dim=-1) / size


def _without_autocast(x: Tensor) -> torch.autocast:
    # A small square is what large products leave of each other: nothing would be left of it in half precision.
    return torch.autocast(x.device.type, enabled=False)


def _root(squares: Tensor) -> Tensor:
    # Rounding may bring a square below zero.
    return (squares.clamp_min(0) + FLOOR).sqrt()


def _units(rows: Tensor, present: Tensor | None) -> Tensor:
    return F.normalize(without_absent(rows, present), dim=1)
