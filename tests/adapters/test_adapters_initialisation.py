"""Directions and updates against the property that defines each: what they leave alone, what they are the best at."""

import pytest
import torch

from awase.adapters import (
    accumulated_covariance,
    feature_basis,
    inflora_directions,
    keeplora_directions,
    null_space_update,
    osrm_directions,
    span_projector,
)

DIM, OUTPUTS, ROWS = 11, 7, 23


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_a_subspace(seed: int, rank: int, dim: int = DIM) -> torch.Tensor:
    """Rows of features that span so many dimensions."""
    return random(seed, ROWS, rank) @ random(seed + 100, rank, dim)


def covariance(features: torch.Tensor) -> torch.Tensor:
    return features.T @ features / len(features)


def orthonormal(rows: torch.Tensor) -> bool:
    return torch.allclose(rows @ rows.T, torch.eye(len(rows), dtype=rows.dtype), atol=1e-10)


def captured(directions: torch.Tensor, features: torch.Tensor) -> float:
    return float((features @ directions.T).square().sum())


NOTHING = torch.zeros(DIM, 0, dtype=torch.float64)


def test_covariances_accumulate_to_that_of_all_rows():
    features = random(0, ROWS, DIM)
    here = torch.arange(ROWS) % 3 > 0
    poisoned = torch.where(here[:, None], features, torch.nan)
    found, count = torch.zeros(DIM, DIM, dtype=torch.float64), 0
    for rows in (slice(0, 5), slice(5, 6), slice(6, 6), slice(6, ROWS)):
        found, count = accumulated_covariance(found, count, poisoned[rows], present=here[rows])
    assert count == int(here.sum())
    torch.testing.assert_close(found, covariance(features[here]))
    whole, count = accumulated_covariance(torch.zeros(DIM, DIM, dtype=torch.float64), 0, features)
    torch.testing.assert_close(whole, covariance(features))
    assert count == ROWS


@pytest.mark.parametrize("energy", [0.5, 0.9, 0.99, 1.0])
def test_a_basis_holds_its_share_of_the_energy_with_the_fewest_columns(energy):
    features = random(0, ROWS, DIM)
    basis = feature_basis(covariance(features), energy=energy)
    assert orthonormal(basis.T)
    total = float(features.square().sum())
    assert captured(basis.T, features) >= energy * total * (1 - 1e-9)
    assert captured(basis[:, :-1].T, features) < energy * total
    values = torch.linalg.svdvals(features).square()
    assert basis.shape[1] == int((values.cumsum(0) < energy * total * (1 - 1e-9)).sum()) + 1


def test_a_basis_grows_by_what_it_lacks_and_keeps_what_it_has():
    first, second = in_a_subspace(0, 2), in_a_subspace(1, 3)
    basis = feature_basis(covariance(first), energy=1.0)
    assert basis.shape == (DIM, 2)
    grown = feature_basis(covariance(second), energy=1.0, basis=basis)
    assert grown.shape == (DIM, 5)
    assert orthonormal(grown.T)
    torch.testing.assert_close(grown[:, :2], basis, rtol=0, atol=0)
    for features in (first, second):
        torch.testing.assert_close(features @ grown @ grown.T, features)
    again = feature_basis(covariance(torch.cat([first, second])), energy=1.0, basis=grown)
    assert torch.equal(again, grown)
    # A basis of everything cannot grow, and features of nothing need none.
    everything = torch.eye(DIM, dtype=torch.float64)
    assert torch.equal(feature_basis(covariance(first), energy=1.0, basis=everything), everything)
    assert feature_basis(torch.zeros(DIM, DIM), energy=0.9).shape == (DIM, 0)
    for energy in (0.0, 1.1):
        with pytest.raises(ValueError, match=r"share in \(0, 1\]"):
            feature_basis(covariance(first), energy=energy)


def test_a_basis_of_float32_covariances_is_measured_in_float64():
    # Whole numbers, so that the covariance is exactly of rank 2: in float32 the rounding of the sums would be missing.
    rows = torch.arange(float(DIM)) % 5, torch.arange(float(DIM)) % 3
    exact = sum(torch.outer(row, row) for row in rows)
    basis = feature_basis(exact, energy=1.0)
    assert basis.shape == (DIM, 2)
    assert torch.equal(feature_basis(exact, energy=1.0, basis=basis), basis)


def test_inflora_sees_nothing_of_the_old_and_the_most_of_the_new():
    old, new = in_a_subspace(0, 4), random(1, ROWS, DIM)
    basis = feature_basis(covariance(old), energy=1.0)
    found = inflora_directions(covariance(new), basis, 3)
    assert found.shape == (3, DIM)
    assert orthonormal(found)
    torch.testing.assert_close(old @ found.T, torch.zeros(ROWS, 3, dtype=torch.float64), rtol=0, atol=1e-10)
    outside = new - new @ basis @ basis.T
    best = float(torch.linalg.svdvals(outside)[:3].square().sum())
    assert captured(found, new) == pytest.approx(best, rel=1e-9)
    first = inflora_directions(covariance(new), NOTHING, 2)
    assert captured(first, new) == pytest.approx(float(torch.linalg.svdvals(new)[:2].square().sum()), rel=1e-9)


def test_inflora_is_orthogonal_to_the_old_also_where_the_new_features_have_no_direction_of_their_own():
    # New features inside the span of the old ones: all that is left has the eigenvalue 0, as what was removed has.
    old = in_a_subspace(0, 4)
    basis = feature_basis(covariance(old), energy=1.0)
    found = inflora_directions(covariance(old[:5]), basis, DIM - 4)
    assert orthonormal(found)
    torch.testing.assert_close(old @ found.T, torch.zeros(ROWS, DIM - 4, dtype=torch.float64), rtol=0, atol=1e-10)
    for rank in (0, DIM - 3):
        with pytest.raises(ValueError, match=f"the {DIM - 4} directions that are left; given: {rank}"):
            inflora_directions(covariance(old), basis, rank)
    with pytest.raises(ValueError, match="the 0 directions"):
        inflora_directions(covariance(old), torch.eye(DIM, dtype=torch.float64), 1)


def test_keeplora_is_outside_of_the_weights_main_part_and_of_the_old_features():
    weight = random(0, OUTPUTS, 2) @ random(1, 2, DIM) + 1e-3 * random(2, OUTPUTS, DIM)
    gradient, old = random(3, OUTPUTS, DIM), in_a_subspace(4, 3)
    basis = feature_basis(covariance(old), energy=1.0)
    found = keeplora_directions(weight, gradient, basis, 2, energy=0.99)
    assert orthonormal(found)
    torch.testing.assert_close(old @ found.T, torch.zeros(ROWS, 2, dtype=torch.float64), rtol=0, atol=1e-10)
    main = torch.linalg.svd(weight).Vh[:2]
    torch.testing.assert_close(main @ found.T, torch.zeros(2, 2, dtype=torch.float64), rtol=0, atol=1e-10)
    removed = torch.linalg.svd(torch.cat([main, basis.T]), full_matrices=False).Vh
    best = float(torch.linalg.svdvals(gradient - gradient @ removed.T @ removed)[:2].square().sum())
    assert captured(found, gradient) == pytest.approx(best, rel=1e-9)
    # Old features inside of the weight's main part remove nothing twice.
    twice = keeplora_directions(weight, gradient, main.T, DIM - 2, energy=0.99)
    assert orthonormal(twice)


def test_osrm_takes_the_directions_in_which_other_data_are_smallest():
    features = random(0, ROWS, DIM) * torch.linspace(0.1, 2, DIM, dtype=torch.float64)
    found = osrm_directions(covariance(features), 3)
    assert orthonormal(found)
    values = torch.linalg.eigvalsh(covariance(features))
    torch.testing.assert_close(found @ covariance(features) @ found.T, torch.diag(values[:3]))
    for seed in range(5):
        other = torch.linalg.qr(random(seed, DIM, 3)).Q.T
        assert captured(found, features) < captured(other, features)
    with pytest.raises(ValueError, match=f"the {DIM} directions"):
        osrm_directions(covariance(features), DIM + 1)


def test_directions_keep_the_precision_of_what_they_are_made_of():
    low = covariance(in_a_subspace(0, 4)).float()
    basis = feature_basis(low, energy=0.9999)
    assert basis.dtype == torch.float32
    assert inflora_directions(low, basis, 2).dtype == osrm_directions(low, 2).dtype == torch.float32
    assert (
        keeplora_directions(random(0, 3, DIM).float(), random(1, 3, DIM).float(), basis, 1, energy=0.9).dtype
        == torch.float32
    )
    assert span_projector(low, threshold=1e-4).dtype == torch.float32


def test_a_projector_keeps_the_span_and_nothing_else():
    features = in_a_subspace(0, 3)
    found = span_projector(covariance(features), threshold=1e-6)
    torch.testing.assert_close(features @ found, features)
    torch.testing.assert_close(found @ found, found)
    assert float(found.trace()) == pytest.approx(3)
    assert torch.equal(
        span_projector(1e6 * covariance(features), threshold=1e-6).round(decimals=9), found.round(decimals=9)
    )
    assert torch.equal(span_projector(torch.zeros(DIM, DIM), threshold=0.01), torch.zeros(DIM, DIM))
    values = torch.linalg.eigvalsh(covariance(random(1, ROWS, DIM)))
    half = span_projector(covariance(random(1, ROWS, DIM)), threshold=0.5)
    assert float(half.trace()) == pytest.approx(int((values > 0.5 * values[-1]).sum()))


def test_a_null_space_update_changes_no_old_product():
    own_rows, other_rows = in_a_subspace(0, 4), in_a_subspace(1, 3)
    other_weight = random(2, OUTPUTS, DIM)
    count, own_moment = 0, torch.zeros(DIM, DIM, dtype=torch.float64)
    other_moment, others = own_moment.clone(), 0
    for rows in (slice(0, 13), slice(13, ROWS)):
        own_moment, count = accumulated_covariance(own_moment, count, own_rows[rows])
        other_moment, others = accumulated_covariance(other_moment, others, other_rows[rows])
    own = span_projector(own_moment, threshold=1e-6)
    other = span_projector(other_weight @ other_moment @ other_weight.T, threshold=1e-6)
    gradient = random(3, OUTPUTS, DIM)
    update = null_space_update(gradient, own, other)
    products = (other_rows @ other_weight.T) @ update @ own_rows.T
    torch.testing.assert_close(products, torch.zeros_like(products), rtol=0, atol=1e-9)
    # The embeddings of old inputs do move, but for where the other modality spans everything.
    assert float((update @ own_rows.T).abs().max()) > 1e-3
    still = null_space_update(gradient, own, torch.eye(OUTPUTS, dtype=torch.float64)) @ own_rows.T
    torch.testing.assert_close(still, torch.zeros_like(still), rtol=0, atol=1e-9)
    # It is the part of the gradient that is allowed, and all of it.
    torch.testing.assert_close(null_space_update(update, own, other), update)
    assert torch.equal(null_space_update(gradient, 0 * own, other), gradient)
