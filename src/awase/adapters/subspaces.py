"""The space that the features of earlier data span, and updates that leave it alone.

A covariance here is the mean of f f^T over rows f, nothing subtracted. Decompositions run in float64: what is asked of
them is mostly the small end of the spectrum.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SAME = 1e-6
"""A column whose part outside the others is this share of the longest is said to lie in their span."""


@torch.no_grad()
def accumulated_covariance(
    covariance: Float[Tensor, "dim dim"],
    num_rows: int,
    features: Float[Tensor, "rows dim"],
    *,
    present: Bool[Tensor, " rows"] | None = None,
) -> tuple[Float[Tensor, "dim dim"], int]:
    """(n C + sum f f^T) / (n + rows), and n + rows: the covariance of all rows so far, and how many they are.

    Begin with zeros and 0. Absent rows are not counted, whatever they hold; without any row it stays as it is.
    """
    if present is not None:
        features = features[present]
    features = features.to(covariance)
    total = num_rows + len(features)
    if len(features) == 0:
        return covariance, total
    return covariance * (num_rows / total) + features.T @ features / total, total


@torch.no_grad()
def feature_basis(
    covariance: Float[Tensor, "dim dim"],
    *,
    energy: float,
    basis: Float[Tensor, "dim old"] | None = None,
) -> Float[Tensor, "dim new"]:
    """`basis`, and as few further orthonormal columns as hold `energy` of the features' squared length with it.

    The columns added are the leading eigenvectors of the covariance outside of `basis`: the fewest such that the other
    eigenvalues outside sum to (1 - energy) tr(C) at most. `basis` has orthonormal columns; none are added where they
    hold enough already, nor for a covariance of zeros. The threshold may rise from task to task.
    Raises `ValueError` for an energy outside (0, 1].
    Source: DualGPM (Liang and Li, CVPR 2023), as InfLoRA uses it. It keeps the complement instead where that is
    smaller, which saves memory and spans the same.
    """
    if not 0 < energy <= 1:
        raise ValueError(f"The energy that a basis holds is a share in (0, 1]; given: {energy}.")
    old = covariance.new_zeros(len(covariance), 0) if basis is None else basis
    values, vectors = leading(covariance, old)
    left_out = values.clamp_min(0).flip(0).cumsum(0).flip(0)  # without this column and those after it
    # A share of 1 is reached up to rounding.
    needed = int((left_out > (1 - energy + 1e-12) * covariance.trace()).sum())
    return torch.cat([old.to(covariance.dtype), vectors[:, :needed].to(covariance.dtype)], dim=1)


@torch.no_grad()
def complement(columns: Float[Tensor, "dim removed"]) -> Float[Tensor, "dim kept"]:
    """Orthonormal columns that span everything orthogonal to the columns given, which may depend on each other."""
    wide = columns.double()
    if wide.shape[1] == 0:
        return torch.eye(len(wide), dtype=wide.dtype, device=wide.device)
    vectors, lengths, _ = torch.linalg.svd(wide, full_matrices=True)
    kept: Tensor = vectors[:, int((lengths > SAME * lengths.max()).sum()) :]
    return kept


@torch.no_grad()
def leading(
    covariance: Float[Tensor, "dim dim"], removed: Float[Tensor, "dim removed"]
) -> tuple[Float[Tensor, " kept"], Float[Tensor, "dim kept"]]:
    """The eigenvalues, greatest first, and eigenvectors of the covariance of what is orthogonal to `removed`.

    They are sought inside of the complement: eigenvectors of the value 0 would else be mixed with what was removed.
    """
    inside = complement(removed)
    values, vectors = torch.linalg.eigh(inside.T @ covariance.double() @ inside)
    return values.flip(0), inside @ vectors.flip(1)


@torch.no_grad()
def span_projector(covariance: Float[Tensor, "dim dim"], *, threshold: float) -> Float[Tensor, "dim dim"]:
    """U U^T, U the eigenvectors with an eigenvalue above `threshold` times the greatest; zeros of zeros.

    Deviation from the released code of DNS, whose threshold is the eigenvalue itself: here the scale of the features
    does not matter.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    kept: Tensor = vectors[:, (values > threshold * values[-1]) & (values > 0)]
    return (kept @ kept.T).to(covariance.dtype)


@torch.no_grad()
def null_space_update(
    gradient: Float[Tensor, "outputs inputs"],
    own: Float[Tensor, "inputs inputs"],
    other: Float[Tensor, "outputs outputs"],
) -> Float[Tensor, "outputs inputs"]:
    """G - P' G P: what is left of an update D of a head W so that no old product z'^T W z changes.

    P (`own`) projects on the span of the old inputs z of this head, P' (`other`) on that of the old embeddings W' z' of
    the other modality (covariance W' C' W'^T). Then z'^T D z = 0 for every z and z' of the two spans; D z itself is 0
    only where P' is the identity. Where both heads move at once, the product of both updates remains, of second order.
    Source: Liu et al., NeurIPS 2025 (DNS).
    """
    return gradient - other @ gradient @ own
