import math

import pytest
import torch
from torch import Tensor

from awase.evaluation.geometry import (
    alignment,
    cosines,
    hubness,
    modality_gap,
    norms,
    occurrences,
    pair_geometry,
    space_drift,
    uniformity,
)

ROWS, DIM = 43, 7


def sample(seed: int, rows: int = ROWS) -> Tensor:
    return torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed)) + 0.3


def unit(values: Tensor) -> list[Tensor]:
    return [row.double() / row.double().norm() for row in values]


def test_worked_by_hand():
    x, y = torch.tensor([[2.0, 0.0], [5.0, 0.0]]), torch.tensor([[0.0, 3.0], [0.0, 1.0]])
    assert modality_gap(x, y) == pytest.approx(math.sqrt(2))
    assert alignment(x, y) == pytest.approx(2.0)
    assert uniformity(torch.tensor([[1.0, 0.0], [-3.0, 0.0]])) == pytest.approx(-8.0)
    found = norms(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    assert (found.mean, found.deviation, found.smallest, found.largest) == (3.0, 2.0, 1.0, 5.0)
    basis = torch.eye(2)
    assert cosines(basis, basis) == (1.0, 0.0)
    assert space_drift(basis, -basis) == 2.0


def test_collapse():
    same = torch.ones(11, 3)
    assert uniformity(same) == pytest.approx(0.0, abs=1e-12)
    assert (modality_gap(same, same), alignment(same, same)) == (0.0, 0.0)
    assert cosines(same, same) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("tile_bytes", [None, 1])
def test_uniformity_is_the_mean_over_pairs(tile_bytes: int | None):
    rows = unit(sample(0))
    pairs = [
        math.exp(-3 * float((a - b).square().sum())) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j
    ]
    assert uniformity(sample(0), t=3.0, tile_bytes=tile_bytes) == pytest.approx(
        math.log(sum(pairs) / len(pairs)), abs=1e-9
    )


def test_pairs_are_the_definition():
    a, b = unit(sample(1)), unit(sample(2))
    matched = [float(x @ y) for x, y in zip(a, b, strict=True)]
    others = [float(x @ y) for i, x in enumerate(a) for j, y in enumerate(b) if i != j]
    assert cosines(sample(1), sample(2)) == pytest.approx((sum(matched) / ROWS, sum(others) / len(others)), abs=1e-12)
    assert alignment(sample(1), sample(2)) == pytest.approx(2 - 2 * sum(matched) / ROWS, abs=1e-12)
    assert space_drift(sample(1), sample(2)) == pytest.approx(1 - sum(matched) / ROWS, abs=1e-12)
    gap = (sum(a) / ROWS - sum(b) / ROWS).norm()
    assert modality_gap(sample(1), sample(2)) == pytest.approx(float(gap), abs=1e-12)


@pytest.mark.parametrize("tile_bytes", [None, 1])
@pytest.mark.parametrize("normalise", [False, True])
def test_occurrences_are_counted_one_by_one(normalise: bool, tile_bytes: int | None):
    queries, gallery = sample(3, 61), sample(4)
    scores = queries @ gallery.T / (gallery.norm(dim=1) if normalise else 1)
    counts = [0] * ROWS
    for row in scores:
        for j in sorted(range(ROWS), key=lambda j: -float(row[j]))[:5]:
            counts[j] += 1
    assert occurrences(queries, gallery, 5, normalise=normalise, tile_bytes=tile_bytes).tolist() == counts
    found = hubness(queries, gallery, 5, normalise=normalise, tile_bytes=tile_bytes)
    mean = sum(counts) / ROWS
    spread = math.sqrt(sum((n - mean) ** 2 for n in counts) / ROWS)
    assert found.skewness == pytest.approx(sum((n - mean) ** 3 for n in counts) / ROWS / spread**3, rel=1e-9)
    assert found.never == pytest.approx(counts.count(0) / ROWS)
    assert found.largest == pytest.approx(max(counts) / 61)


def test_hubness_of_one_hub_and_of_none():
    gallery = torch.tensor([[3.0], [2.0], [1.0]])
    found = hubness(torch.ones(3, 1), gallery, 1)
    assert (found.skewness, found.never, found.largest) == (pytest.approx(math.sqrt(0.5)), pytest.approx(2 / 3), 1.0)
    even = hubness(torch.eye(5), torch.eye(5), 1)
    assert (even.skewness, even.never, even.largest) == (0.0, 0.0, 0.2)


def test_everything_about_a_pair():
    a, b = sample(5), sample(6)
    found = pair_geometry(a, b, k=3)
    assert found.hubness == hubness(a, b, 3)
    assert (found.gap, found.alignment) == (modality_gap(a, b), alignment(a, b))
    assert (found.matched, found.unmatched) == cosines(a, b)
    assert pair_geometry(a[:7], b[:7]).hubness is None
    assert math.isnan(pair_geometry(a[:1], b[:1]).unmatched)


def test_bad_embeddings_are_refused():
    wrong = sample(7)
    wrong[[2, 5], 1] = math.nan
    for action in (norms, uniformity, lambda x: modality_gap(x, sample(1)), lambda x: alignment(sample(1), x)):
        with pytest.raises(ValueError, match="2 of 43 embeddings contain NaN"):
            action(wrong)
    with pytest.raises(ValueError, match="about pairs"):
        uniformity(sample(1, 1))
    with pytest.raises(ValueError, match="needs a query"):
        hubness(sample(1, 0), sample(2), 3)
    with pytest.raises(ValueError, match="at least one"):
        norms(sample(1, 0))
