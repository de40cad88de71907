"""k-means against Lloyd's iterations written out, and against scikit-learn."""

import pytest
import torch
from sklearn.cluster import KMeans
from torch.nn import functional as F

from awase.objectives import kmeans
from awase.objectives.kmeans import ROWS_PER_SEED, assign, plus_plus

ROWS, DIM, CLUSTERS = 53, 7, 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_rows(seed: int = 0) -> torch.Tensor:
    generator = seeded(seed)
    return torch.randn(ROWS, DIM, generator=generator) * (0.5 + torch.rand(ROWS, 1, generator=generator))


def blobs(per_cluster: int = 23) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of any length around five directions far apart, and which direction each has."""
    which = torch.arange(CLUSTERS).repeat(per_cluster)
    directions = torch.eye(DIM)[:CLUSTERS]
    noise = 0.05 * torch.randn(len(which), DIM, generator=seeded(1))
    return (directions[which] + noise) * (0.5 + torch.rand(len(which), 1, generator=seeded(2))), which


def slow_lloyd(rows, centroids, iterations, spherical=False):
    """Cosine to every centroid, mean of the members, one row at a time; no cluster may run empty."""
    rows = rows.double()
    centroids = centroids.double()
    if spherical:
        rows = torch.stack([row / row.norm() for row in rows])

    def nearest(row):
        return int(torch.stack([row @ c / (row.norm() * c.norm()) for c in centroids]).argmax())

    for _ in range(iterations):
        labels = [nearest(row) for row in rows]
        means = []
        for k in range(len(centroids)):
            mean = torch.stack([row for row, label in zip(rows, labels, strict=True) if label == k]).mean(dim=0)
            means.append(mean / mean.norm() if spherical else mean)
        centroids = torch.stack(means)
    labels = torch.tensor([nearest(row) for row in rows])
    return centroids, labels, sum(1 - F.cosine_similarity(r, centroids[k], dim=0) for r, k in zip(rows, labels))  # noqa: B905


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("iterations", [1, 3])
def test_iterations_are_their_definition(iterations, spherical):
    rows = some_rows()
    start = rows[:CLUSTERS].clone()
    found = kmeans(rows, CLUSTERS, start, spherical=spherical, max_iterations=iterations, tolerance=0.0)
    centroids, labels, inertia = slow_lloyd(rows, start, iterations, spherical)
    torch.testing.assert_close(found.centroids, centroids.float())
    assert torch.equal(found.labels, labels)
    assert found.inertia == pytest.approx(float(inertia), rel=1e-5)  # float32 against float64
    assert (found.iterations, found.reseeded, found.dead) == (iterations, 0, 0)
    assert torch.equal(start, rows[:CLUSTERS])


@pytest.mark.parametrize("spherical", [False, True])
def test_it_ends_where_nothing_moves(spherical):
    found = kmeans(some_rows(), CLUSTERS, seeded(), spherical=spherical, tolerance=0.0)
    assert found.iterations < 100
    again = kmeans(some_rows(), CLUSTERS, found.centroids, spherical=spherical)
    assert again.iterations == 1
    assert torch.equal(again.labels, found.labels)
    torch.testing.assert_close(again.centroids, found.centroids)


def test_a_tolerance_is_relative():
    rows = some_rows()
    found = kmeans(rows, CLUSTERS, rows[:CLUSTERS], tolerance=0.05)
    large = kmeans(1024 * rows, CLUSTERS, 1024 * rows[:CLUSTERS], tolerance=0.05)
    assert found.iterations == large.iterations < kmeans(rows, CLUSTERS, rows[:CLUSTERS], tolerance=0.0).iterations
    assert torch.equal(1024 * found.centroids, large.centroids)  # a power of two changes no rounding


def test_separated_blobs_are_found_as_scikit_learn_finds_them():
    rows, which = blobs()
    unit = F.normalize(rows, dim=1)
    oracle = KMeans(CLUSTERS, n_init=3, random_state=0).fit(unit.double().numpy())
    for seed in range(5):
        found = kmeans(rows, CLUSTERS, seeded(seed))
        means = torch.stack([unit[found.labels == k].double().mean(dim=0) for k in range(CLUSTERS)])
        inertia = float((unit.double() - means[found.labels]).square().sum())
        assert inertia == pytest.approx(oracle.inertia_, rel=1e-6)
        assert len({(int(a), int(b)) for a, b in zip(found.labels, which, strict=True)}) == CLUSTERS
        assert (found.reseeded, found.dead) == (0, 0)


def test_equal_seeds_give_equal_bits_and_others_another_start():
    rows = some_rows()
    first, second, other = (kmeans(rows, CLUSTERS, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first.centroids, second.centroids)
    assert torch.equal(first.labels, second.labels)
    assert not torch.equal(first.centroids, other.centroids)


def test_absent_rows_are_as_if_they_were_not_there():
    rows, present = some_rows(), torch.arange(ROWS) % 3 != 1
    holed = rows.clone()
    holed[~present] = torch.nan
    found, alone = kmeans(holed, CLUSTERS, seeded(), present=present), kmeans(rows[present], CLUSTERS, seeded())
    assert torch.equal(found.centroids, alone.centroids)
    assert torch.equal(found.labels[present], alone.labels)
    assert bool((found.labels[~present] == -1).all())
    assert found.inertia == alone.inertia


def test_a_centroid_without_rows_goes_to_the_farthest_row():
    rows = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.1, 0.0], [1.0, 0.0, 0.2], [0.0, 0.3, 1.0]])
    start = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    one = kmeans(rows, 2, start, max_iterations=1)
    assert one.reseeded == 1
    assert torch.equal(one.centroids[1], rows[3])
    # However tolerant: what was put elsewhere needs another iteration.
    assert kmeans(rows, 2, start, tolerance=1e9).iterations == 2
    found = kmeans(rows, 2, start)
    assert found.labels.tolist() == [0, 0, 0, 1]
    assert (found.reseeded, found.dead) == (1, 0)


def test_fewer_directions_than_clusters_leave_dead_ones_and_end():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(4, 1) * torch.arange(1.0, 9.0)[:, None]
    found = kmeans(rows, 3, seeded())
    assert found.dead == 1
    assert found.iterations < 10
    assert bool(found.centroids.isfinite().all())
    assert found.labels[::2].unique().numel() == found.labels[1::2].unique().numel() == 1


def test_one_cluster_one_row_and_a_row_of_zeros():
    rows = some_rows()
    one = kmeans(rows, 1, seeded())
    torch.testing.assert_close(one.centroids[0], rows.mean(dim=0))
    single = kmeans(rows[:1], 1, seeded())
    assert torch.equal(single.centroids, rows[:1])
    assert single.inertia == pytest.approx(0.0, abs=1e-6)
    zeros = torch.cat([torch.zeros(1, DIM), rows])
    assert bool(kmeans(zeros, CLUSTERS, seeded()).centroids.isfinite().all())
    assert assign(torch.zeros(1, DIM), rows[:3])[1].item() == 0


def test_a_start_far_apart_is_drawn():
    rows, which = blobs()
    inverse = 1 / rows.norm(dim=1)
    for seed in range(20):
        drawn = plus_plus(rows, inverse, CLUSTERS, seeded(seed))
        labels = [int(which[(rows == row).all(dim=1).nonzero()[0, 0]]) for row in drawn]
        assert len(set(labels)) == CLUSTERS
    many = torch.cat([rows] * ROWS_PER_SEED)
    assert plus_plus(many, 1 / many.norm(dim=1), 2, seeded()).shape == (2, DIM)


def test_probabilities_of_the_second_row_are_in_proportion_to_the_distance():
    angles = torch.tensor([0.0, 0.5, 1.0, 2.5])
    rows = torch.stack([angles.cos(), angles.sin()], dim=1)
    seconds, total = torch.zeros(4, 4), 4000
    for seed in range(total):
        pair = plus_plus(rows, torch.ones(4), 2, seeded(seed))
        first, second = (int((rows == row).all(dim=1).nonzero()[0, 0]) for row in pair)
        seconds[first, second] += 1
    expected = (1 - rows @ rows.T) / (1 - rows @ rows.T).sum(dim=1, keepdim=True) / 4
    # Four standard deviations of a share of 4000 draws are at most 0.032.
    assert float((seconds / total - expected).abs().max()) < 0.032
    assert torch.equal(seconds.diagonal(), torch.zeros(4))


def test_what_cannot_be_clustered_is_refused():
    rows = some_rows()
    bad = rows.clone()
    bad[3, 2], bad[7, 0] = torch.nan, torch.inf
    with pytest.raises(ValueError, match="2 of 53 rows to cluster are not finite"):
        kmeans(bad, CLUSTERS, seeded())
    with pytest.raises(ValueError, match="54 clusters of 53 rows"):
        kmeans(rows, 54, seeded())
    with pytest.raises(ValueError, match=r"5 clusters of 7 columns has the shape \(4, 7\)"):
        kmeans(rows, CLUSTERS, rows[:4])
    with pytest.raises(ValueError, match="start from are not finite"):
        kmeans(rows, CLUSTERS, torch.full((CLUSTERS, DIM), torch.nan))
