"""k-means on the device where the rows are."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from awase.products import product

ROWS_PER_SEED = 32
"""k-means++ looks at no more rows per cluster than this, drawn at random: its K passes cost as much as K iterations."""
AT_CENTROID = 1e-6
"""A row whose cosine is this close to 1 lies at its centroid, as far as float32 can tell."""


@dataclass(frozen=True)
class Clusters:
    """What k-means found: `labels[i]` is the centroid of the greatest cosine for row i, -1 for an absent row.

    `inertia` is the sum of 1 - cosine over the rows; `reseeded` how often a centroid without rows was put elsewhere,
    `dead` how many have no row in the end.
    """

    centroids: Float[Tensor, "clusters dim"]
    labels: Int[Tensor, " rows"]
    inertia: float
    iterations: int
    reseeded: int
    dead: int


@torch.no_grad()
def kmeans(
    rows: Float[Tensor, "rows dim"],
    num_clusters: int,
    start: torch.Generator | Float[Tensor, "clusters dim"],
    *,
    present: Bool[Tensor, " rows"] | None = None,
    spherical: bool = False,
    max_iterations: int = 100,
    tolerance: float = 1e-4,
) -> Clusters:
    """Lloyd's iterations: each row to the centroid of the greatest cosine, each centroid to the mean of its raw rows.

    `start`: the centroids to go on from, or a generator (of the CPU) for k-means++. `spherical`: the rows are unit
    vectors and the centroids the unit vectors of their means. Ends where the squared distance that all centroids moved
    is at most `tolerance` times their squared length and no centroid was re-seeded, or after `max_iterations`. The
    labels are those of the centroids returned.
    A centroid without rows is put on the row that is farthest from its own centroid (several: on the farthest ones, in
    order; the first of equals), as long as there are rows away from theirs. Equal input gives equal results, on a GPU
    only under `torch.use_deterministic_algorithms(True)`: sums are taken there in any order.
    Deviations from the k-means of MCN (fast_pytorch_kmeans): k-means++ instead of random rows, re-seeding instead of
    zero vectors, a tolerance relative to the centroids instead of 1e-4, labels of the last centroids instead of those
    before.
    Raises `ValueError` where a present row or the start is not finite, and for fewer present rows than clusters.
    """
    data = (rows if present is None else rows[present]).to(torch.promote_types(rows.dtype, torch.float32))
    _check(data, num_clusters, start)
    if spherical:
        data = F.normalize(data, dim=1)
    inverse = 1 / data.norm(dim=1).clamp_min(torch.finfo(data.dtype).tiny)
    centroids = start.to(data) if isinstance(start, Tensor) else plus_plus(data, inverse, num_clusters, start)
    labels, cosines = assign(data, centroids, inverse)
    iterations = reseeded = 0
    for iterations in range(1, max_iterations + 1):  # noqa: B007
        moved, counts = cluster_means(data, labels, centroids)
        if spherical:
            moved = F.normalize(moved, dim=1)
        shift, size = (moved - centroids).square().sum(), moved.square().sum()
        still, num_empty = torch.stack([shift <= tolerance * size, (counts == 0).sum()]).tolist()
        fresh = _reseed_(moved, counts, data, cosines) if num_empty else 0
        centroids, reseeded = moved, reseeded + fresh
        labels, cosines = assign(data, centroids, inverse)
        if still and fresh == 0:
            break
    dead = num_clusters - len(labels.unique())
    if present is not None:
        labels = labels.new_full((len(rows),), -1).masked_scatter(present, labels)
    return Clusters(centroids, labels, float((1 - cosines).clamp_min(0).sum()), iterations, reseeded, dead)


def assign(
    rows: Float[Tensor, "rows dim"],
    centroids: Float[Tensor, "clusters dim"],
    inverse_norms: Float[Tensor, " rows"] | None = None,
) -> tuple[Int[Tensor, " rows"], Float[Tensor, " rows"]]:
    """The centroid of the greatest cosine for each row, and that cosine; a zero vector has the cosine 0 to all.

    The length of a row does not change which centroid is nearest, so only the best cosines are divided by it.
    """
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    if inverse_norms is None:
        inverse_norms = 1 / rows.norm(dim=1).clamp_min(torch.finfo(rows.dtype).tiny)
    best, labels = product(rows, F.normalize(centroids.to(rows), dim=1)).max(dim=1)
    return labels, best * inverse_norms


def cluster_means(
    rows: Float[Tensor, "rows dim"], labels: Int[Tensor, " rows"], centroids: Float[Tensor, "clusters dim"]
) -> tuple[Float[Tensor, "clusters dim"], Float[Tensor, " clusters"]]:
    """The mean of each cluster's rows, the old centroid where it has none, and the number of its rows."""
    sums = torch.zeros_like(centroids).index_add_(0, labels, rows)
    counts = torch.zeros_like(centroids[:, 0]).index_add_(0, labels, torch.ones_like(rows[:, 0]))
    means = sums / counts.clamp_min(1)[:, None]
    return torch.where(counts[:, None] > 0, means, centroids), counts


def plus_plus(
    rows: Float[Tensor, "rows dim"],
    inverse_norms: Float[Tensor, " rows"],
    num_clusters: int,
    generator: torch.Generator,
) -> Float[Tensor, "clusters dim"]:
    """k-means++: rows, each drawn with a probability in proportion to 1 - cosine to the nearest of those before it.

    That is half of the squared distance of the unit vectors. Looks at `ROWS_PER_SEED` rows per cluster. Where all that
    is left lies on what was drawn, each row has the same probability.
    Source: Arthur and Vassilvitskii, SODA 2007.
    """
    if len(rows) > ROWS_PER_SEED * num_clusters:
        subset = torch.randperm(len(rows), generator=generator)[: ROWS_PER_SEED * num_clusters].to(rows.device)
        rows, inverse_norms = rows[subset], inverse_norms[subset]
    unit = rows * inverse_norms[:, None]
    draws = torch.rand(num_clusters, generator=generator, dtype=torch.float64).to(unit.device)
    chosen = torch.zeros(num_clusters, dtype=torch.long, device=unit.device)
    distances = torch.full((len(unit),), 2.0, dtype=torch.float64, device=unit.device)  # no cosine is farther
    for number in range(num_clusters):
        weights = torch.where(distances.sum() > 0, distances, torch.ones_like(distances))
        reached = weights.cumsum(dim=0)
        # To the right, so that a row of no weight is never met; a product may round up to the total.
        place = torch.searchsorted(reached, draws[number] * reached[-1], right=True).clamp_max(len(unit) - 1)
        chosen[number] = place
        away = 1 - (unit @ unit[place]).double()
        distances = torch.minimum(distances, torch.where(away > AT_CENTROID, away, torch.zeros_like(away)))
    return rows[chosen]


def _reseed_(
    centroids: Float[Tensor, "clusters dim"],
    counts: Float[Tensor, " clusters"],
    rows: Float[Tensor, "rows dim"],
    cosines: Float[Tensor, " rows"],
) -> int:
    """Puts the centroids without rows on the rows farthest from their own; returns how many."""
    empty = (counts == 0).nonzero().squeeze(1)
    farthest = (1 - cosines).sort(descending=True, stable=True)
    usable = int((farthest.values[: len(empty)] > AT_CENTROID).sum())
    centroids[empty[:usable]] = rows[farthest.indices[:usable]]
    return usable


def _check(rows: Tensor, num_clusters: int, start: torch.Generator | Tensor) -> None:
    if num_clusters < 1 or len(rows) < num_clusters:
        raise ValueError(
            f"k-means needs at least one cluster and a present row for each: {num_clusters} clusters of {len(rows)} "
            "rows. Fewer clusters would work."
        )
    if not bool(torch.isfinite(rows).all()):
        bad = int((~torch.isfinite(rows)).any(dim=1).sum())
        raise ValueError(f"{bad} of {len(rows)} rows to cluster are not finite; k-means needs finite, present rows.")
    if isinstance(start, Tensor):
        if start.shape != (num_clusters, rows.shape[1]):
            raise ValueError(
                f"The start of {num_clusters} clusters of {rows.shape[1]} columns has the shape {tuple(start.shape)}."
            )
        if not bool(torch.isfinite(start).all()):
            raise ValueError("The centroids to start from are not finite.")
