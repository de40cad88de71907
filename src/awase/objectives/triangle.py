"""TRIANGLE: three embeddings of one sample span a small triangle."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.distributed import ALONE, World
from awase.objectives.anchored import anchored_contrast, safe_root, unit
from awase.objectives.similarities import Scalar
from awase.products import product


def triangle_areas(
    x: Float[Tensor, "rows dim"], y: Float[Tensor, "columns dim"], z: Float[Tensor, "columns dim"]
) -> Float[Tensor, "rows columns"]:
    """A_ij = 1/2 sqrt(<u, u><v, v> - <u, v>^2), u = x_i - y_j, v = x_i - z_j, of the unit vectors of x, y and z.

    Expanded into products of x with y and with z, outside of autocast, as it is a small difference of large numbers.
    The root is `safe_root`: where two of the three coincide (unit vectors are collinear nowhere else) the area is
    0.0005 instead of 0, and the gradient is finite. In [0, 3 sqrt(3) / 4].
    Source: Cicchetti et al., NeurIPS 2025. The released code for batches leaves out the root.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y, z = unit(x), unit(y), unit(z)
        xx = x.square().sum(dim=1)[:, None]  # (rows, 1)
        xy, xz = product(x, y), product(x, z)  # (rows, columns)
        uu = xx + y.square().sum(dim=1) - 2 * xy
        vv = xx + z.square().sum(dim=1) - 2 * xz
        uv = xx + (y * z).sum(dim=1) - xy - xz
        return 0.5 * safe_root(uu * vv - uv.square())


def triangle_contrast(
    embeddings: Mapping[str, Float[Tensor, "batch dim"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    *,
    anchor: str,
    temperature: Scalar = 0.07,
    label_smoothing: float = 0.1,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """The mean of both directions' cross-entropies of -A(anchor_i; y_j, z_j) / temperature, A the `triangle_areas`.

    The anchor of each sample against the two others of every sample j. A sample without one of the three is absent.
    The area does not tell apart how far away the two corners are that coincide with the third: where two modalities
    collapse into one, it is small whatever the anchor is, so add a loss of cosines (`pair_losses`).
    Raises `ValueError` for another number of modalities than three, an anchor that is none of them, a temperature that
    is not above 0 or a smoothing outside [0, 1).
    Source: Cicchetti et al., NeurIPS 2025, with the temperature and the smoothing of the released code.
    """
    if len(embeddings) != 3:
        raise ValueError(f"A triangle has three modalities; given: {', '.join(embeddings) or 'none'}.")
    return anchored_contrast(
        _areas,
        embeddings,
        present,
        anchor=anchor,
        temperature=temperature,
        label_smoothing=label_smoothing,
        world=world,
    )


def triangle_scores(
    x: Float[Tensor, "rows dim"],
    y: Float[Tensor, "columns dim"],
    z: Float[Tensor, "columns dim"],
    *,
    alpha: float,
) -> Float[Tensor, "rows columns"]:
    """alpha cos(x_i, y_j) - A_ij, greater for what fits better: the negative of TRIANGLE's score at inference.

    The cosine is with y alone, the video where x is a text. The paper takes alpha 1 from text to audio and video, 0
    back. Source: Cicchetti et al., NeurIPS 2025.
    """
    areas = triangle_areas(x, y, z)
    with torch.autocast(x.device.type, enabled=False):
        return alpha * product(unit(x), unit(y)) - areas


def _areas(x: Float[Tensor, "rows dim"], items: Float[Tensor, "columns 2 dim"]) -> Float[Tensor, "rows columns"]:
    return triangle_areas(x, items[:, 0], items[:, 1])
