"""The shape of a joint space: gap between modalities, alignment and uniformity, hubs, norms, drift.

All are of rows that are present: give the functions no others. Nothing here makes a matrix of all pairs.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from awase.evaluation.dot_scores import dot_scores, full_precision, parts
from awase.evaluation.top import top_k


@dataclass(frozen=True)
class Norms:
    """Lengths of the embeddings of one modality before any normalisation; the deviation is of the population."""

    mean: float
    deviation: float
    smallest: float
    largest: float


@dataclass(frozen=True)
class Hubness:
    """How unevenly the items are among the best k of the queries.

    `skewness` of N_k, the number of queries that have an item among their best k: 0 where it is symmetric or the
    same for all, several where a few items are everywhere. `never` is the share of items that no query has among its
    best k, `largest` the largest share of queries that have one and the same item.
    """

    k: int
    skewness: float
    never: float
    largest: float


@dataclass(frozen=True)
class PairGeometry:
    """Two modalities of the same samples, row by row; `unmatched` is NaN with one sample."""

    gap: float
    alignment: float
    matched: float
    unmatched: float
    hubness: Hubness | None


def norms(values: Float[Tensor, "rows dim"]) -> Norms:
    """Returns the lengths of the rows. Example: for `[[3., 4.], [0., 1.]]` mean 3, deviation 2, 1 to 5."""
    lengths = torch.linalg.vector_norm(_checked(values), dim=1)
    return Norms(*(float(part) for part in (lengths.mean(), lengths.std(correction=0), lengths.min(), lengths.max())))


def modality_gap(a: Float[Tensor, "rows dim"], b: Float[Tensor, "rows_ dim"]) -> float:
    """Returns the distance between the centroids of the unit vectors, from 0 to 2 (Liang et al. 2022).

    Example: all of `a` at (1, 0), all of `b` at (0, 1): the square root of 2.
    """
    return float((_unit(a).mean(0) - _unit(b).mean(0)).norm())


def alignment(a: Float[Tensor, "rows dim"], b: Float[Tensor, "rows dim"]) -> float:
    """Returns mean |a_i - b_i|^2 of matched unit vectors, 0 (the same) to 4 (opposite); Wang and Isola 2020."""
    return float((_unit(a) - _unit(b)).square().sum(1).mean())


def uniformity(values: Float[Tensor, "rows dim"], *, t: float = 2.0, tile_bytes: int | None = None) -> float:
    """Returns log mean over i != j of exp(-t |x_i - x_j|^2) of unit vectors; 0 where all are one, lower when spread.

    At its best, uniform on the sphere of many dimensions, it is about -2 t. Source: Wang and Isola 2020. Raises
    `ValueError` with fewer than two rows. Example: two opposite vectors and t = 2: -8.
    """
    if len(values) < 2:
        raise ValueError(f"Uniformity is about pairs of samples; given: {len(values)}.")
    unit = _unit(values)
    total = torch.zeros((), dtype=torch.float64, device=values.device)
    with full_precision(values.device):
        scores = dot_scores(unit, unit, tile_bytes=tile_bytes)
        rows = torch.arange(len(unit), device=values.device)
        for part in parts(rows, scores.side):
            for block in parts(rows, scores.side):
                distances = (2 - 2 * scores.tile(part, block, torch.float64)).clamp(min=0)
                own = part[:, None] == block
                total += (-t * distances).exp().masked_fill(own, 0).sum()
    return float((total / (len(unit) * (len(unit) - 1))).log())


def occurrences(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "items dim"],
    k: int = 10,
    *,
    normalise: bool = False,
    tile_bytes: int | None = None,
) -> Int[Tensor, " items"]:
    """Returns N_k of every item: how many queries have it among their best `k`; they sum to k times queries."""
    places = top_k(queries, gallery, k, normalise=normalise, tile_bytes=tile_bytes)[0]
    return places.flatten().bincount(minlength=len(gallery))


def hubness(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "items dim"],
    k: int = 10,
    *,
    normalise: bool = False,
    tile_bytes: int | None = None,
) -> Hubness:
    """Returns how uneven N_k is; skewness = mean (N - mean)^3 / deviation^3 (Radovanovic et al. 2010).

    Raises `ValueError` for a k above the size of the gallery, without a query, and for NaN and infinity. Which of
    several items with the same score is counted is not defined. Example: three queries whose best of three items is the
    first, k = 1: N = (3, 0, 0), skewness 0.707, never 2/3, largest 1.
    """
    if len(queries) == 0:
        raise ValueError("Hubness needs a query.")
    counts = occurrences(queries, gallery, k, normalise=normalise, tile_bytes=tile_bytes).double()
    from_mean, deviation = counts - counts.mean(), counts.std(correction=0)
    skewness = float((from_mean**3).mean() / deviation**3) if float(deviation) > 0 else 0.0
    return Hubness(k, skewness, float((counts == 0).double().mean()), float(counts.max() / len(queries)))


def cosines(a: Float[Tensor, "rows dim"], b: Float[Tensor, "rows dim"]) -> tuple[float, float]:
    """Returns the mean cosine of matched rows and of all unmatched pairs, NaN with one row.

    The second is (sum a . sum b - sum of the matched) / (n (n - 1)) and needs no pairs. Example: with a = b = (1, 0)
    and (0, 1): 1 and 0.
    """
    left, right = _unit(a), _unit(b)
    matched, number = (left * right).sum(), len(a)
    everything = left.sum(0) @ right.sum(0)
    unmatched = float((everything - matched) / (number * (number - 1))) if number > 1 else float("nan")
    return float(matched / number), unmatched


def space_drift(old: Float[Tensor, "rows dim"], new: Float[Tensor, "rows dim"]) -> float:
    """Returns mean 1 - cos(old, new) of the same samples, 0 (same directions) to 2.

    Whether a stored index still serves is another question: rank new queries in the old gallery.
    """
    return 1 - cosines(old, new)[0]


def pair_geometry(
    a: Float[Tensor, "rows dim"],
    b: Float[Tensor, "rows dim"],
    *,
    k: int = 10,
    normalise: bool = False,
    tile_bytes: int | None = None,
) -> PairGeometry:
    """Returns everything about queries `a` and gallery `b`; hubness is None where `b` has no more than k items."""
    hubs = hubness(a, b, k, normalise=normalise, tile_bytes=tile_bytes) if len(b) > k else None
    return PairGeometry(modality_gap(a, b), alignment(a, b), *cosines(a, b), hubs)


def _checked(values: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
    wrong = int((~values.isfinite()).any(1).sum())
    if wrong or len(values) == 0:
        raise ValueError(
            f"{wrong} of {len(values)} embeddings contain NaN or infinity; geometry needs at least one and only finite "
            f"ones. Leave out the rows of samples that lack the modality."
        )
    return values.double()


def _unit(values: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
    return F.normalize(_checked(values), dim=1)
