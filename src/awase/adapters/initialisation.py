"""Directions to begin the matrix A of a LoRA adapter with, such that old data are left alone.

A frozen A with orthonormal rows: the adapter then changes the layer only on what these directions see. Rows (rank,
inputs); a convolution's are those of its flattened weight.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from awase.adapters.subspaces import feature_basis, leading


def inflora_directions(
    covariance: Float[Tensor, "inputs inputs"], old_basis: Float[Tensor, "inputs old"], rank: int
) -> Float[Tensor, "{rank} inputs"]:
    """The leading orthonormal directions of the new features outside of the span of the old ones.

    `covariance`: of the new features, f^T f over their rows; `old_basis`: `feature_basis` of the old ones, without
    columns for a first task. A f = 0 for every f of that span, exactly so also where the new features have less than
    `rank` directions of their own.
    Raises `ValueError` where fewer than `rank` directions are left.
    Source: InfLoRA (Liang and Li, CVPR 2024), whose code divides them by sqrt(3).
    """
    return _outside(covariance, old_basis, rank)


def keeplora_directions(
    weight: Float[Tensor, "outputs inputs"],
    gradient: Float[Tensor, "outputs inputs"],
    old_basis: Float[Tensor, "inputs old"],
    rank: int,
    *,
    energy: float,
) -> Float[Tensor, "{rank} inputs"]:
    """The leading right singular vectors of the gradient outside of the old features and of the weight's main part.

    The main part: the fewest leading right singular vectors that hold `energy` of the weight's squared singular values.
    `gradient`: of the loss of the new data with respect to the weight, the mean over batches.
    Raises `ValueError` where fewer than `rank` directions are left, or for an energy outside (0, 1].
    Source: KeepLoRA (ICLR 2026).
    """
    main = feature_basis(weight.double().T @ weight.double(), energy=energy)
    removed = torch.cat([main, old_basis.to(main)], dim=1)
    return _outside(gradient.double().T @ gradient.double(), removed, rank).to(weight.dtype)


@torch.no_grad()
def osrm_directions(covariance: Float[Tensor, "inputs inputs"], rank: int) -> Float[Tensor, "{rank} inputs"]:
    """The eigenvectors of the `rank` smallest eigenvalues of the covariance of other data's features.

    They minimise the mean squared length of A f on these data, tr(A C A^T), among all A with orthonormal rows, so that
    adapters merged later disturb each other least. Raises `ValueError` for more rows than there are inputs.
    Source: OSRM (ACL 2025).
    """
    _check(rank, len(covariance))
    vectors: Tensor = torch.linalg.eigh(covariance.double()).eigenvectors
    return vectors[:, :rank].T.to(covariance.dtype)


def _outside(
    covariance: Float[Tensor, "inputs inputs"], removed: Float[Tensor, "inputs removed"], rank: int
) -> Float[Tensor, "{rank} inputs"]:
    _, vectors = leading(covariance, removed)
    _check(rank, vectors.shape[1])
    return vectors[:, :rank].T.to(covariance.dtype)


def _check(rank: int, left: int) -> None:
    if not 0 < rank <= left:
        raise ValueError(f"The rank is at least 1 and at most the {left} directions that are left; given: {rank}.")
