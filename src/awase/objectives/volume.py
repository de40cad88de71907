"""GRAM: the embeddings of one sample span a small parallelotope."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.distributed import ALONE, World
from awase.objectives.anchored import anchored_contrast, safe_root, unit
from awase.objectives.similarities import Scalar
from awase.products import product


def volumes(x: Float[Tensor, "rows dim"], items: Float[Tensor, "columns others dim"]) -> Float[Tensor, "rows columns"]:
    """sqrt(det G_ij + 1e-6), G_ij the products of the unit vectors x_i and items_j1, items_j2, ... with each other.

    With H_j the products among the others of item j and c_ij those of x_i with them,
    det G = <x, x> det H - c^T adj(H) c: the adjugate is made once per item, so that nothing greater than
    (others, rows, columns) is. A determinant and not its logarithm: it is a polynomial of the products, with a finite
    gradient also where vectors coincide, which is where training leads; the logarithm's is infinite there. The root is
    `safe_root`, so the least volume is 0.001. Of two modalities it is the sine of their angle. Outside of autocast.
    Source: Cicchetti et al., ICLR 2025.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, items = unit(x), unit(items)
        gram = items @ items.mT  # (columns, others, others)
        adjugate = _adjugate(gram)
        determinants = (gram[:, 0] * adjugate[:, 0]).sum(dim=1)  # (columns,)
        cross = torch.stack([product(x, items[:, other]) for other in range(items.shape[1])])
        inside = torch.einsum("jmn,nij->mij", adjugate, cross)  # (others, rows, columns)
        return safe_root(x.square().sum(dim=1)[:, None] * determinants - (cross * inside).sum(dim=0))


def volume_contrast(
    embeddings: Mapping[str, Float[Tensor, "batch dim"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    *,
    anchor: str,
    temperature: Scalar = 0.07,
    label_smoothing: float = 0.1,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """The mean of both directions' cross-entropies of -Vol(anchor_i; others_j) / temperature, Vol the `volumes`.

    The anchor of each sample against all others of every sample j. A sample without one of the modalities is absent.
    Opposite vectors span as little as equal ones, so the sign of a cosine is not learned. The matching loss that GRAM
    adds needs a model and is not here.
    Raises `ValueError` for fewer than two modalities, an anchor that is none of them, a temperature that is not above 0
    or a smoothing outside [0, 1).
    Source: Cicchetti et al., ICLR 2025, with the temperature and the smoothing of the released code.
    """
    if len(embeddings) < 2:
        raise ValueError(f"A volume needs two modalities or more; given: {', '.join(embeddings) or 'none'}.")
    return anchored_contrast(
        volumes,
        embeddings,
        present,
        anchor=anchor,
        temperature=temperature,
        label_smoothing=label_smoothing,
        world=world,
    )


def _adjugate(symmetric: Float[Tensor, "items size size"]) -> Float[Tensor, "items size size"]:
    """(-1)^(m + n) times the determinant without row m and column n."""
    size = symmetric.shape[-1]
    if size == 1:
        return torch.ones_like(symmetric)
    kept = [[n for n in range(size) if n != left_out] for left_out in range(size)]
    minors = torch.stack([symmetric[:, rows][:, :, columns] for rows in kept for columns in kept], dim=1)
    signs = symmetric.new_tensor([(-1.0) ** (m + n) for m in range(size) for n in range(size)])
    cofactors: Tensor = torch.linalg.det(minors) * signs  # (items, size * size)
    return cofactors.view(len(symmetric), size, size)
