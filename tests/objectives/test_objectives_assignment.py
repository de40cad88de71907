"""Clusters of equal size."""

import torch

from awase.objectives import balanced_assignment, transport_plan

ROWS, CLUSTERS = 7, 3


def similarities(seed: int) -> torch.Tensor:
    return torch.randn(ROWS, CLUSTERS, generator=torch.Generator().manual_seed(seed))


def test_shares_are_the_rows_of_the_plan():
    plan = transport_plan(similarities(0), epsilon=0.05, iterations=3)
    shares, labels = balanced_assignment(similarities(0))
    torch.testing.assert_close(shares, ROWS * plan)
    assert torch.equal(labels, plan.argmax(dim=1))


def test_clusters_become_equal_where_the_nearest_centroid_would_take_all():
    found = similarities(3) / 4
    found[:, 0] += 2
    assert bool((found.argmax(dim=1) == 0).all())
    shares, labels = balanced_assignment(found, epsilon=0.05, iterations=300)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(ROWS))
    torch.testing.assert_close(shares.sum(dim=0), torch.full((CLUSTERS,), ROWS / CLUSTERS), rtol=1e-3, atol=1e-3)
    assert torch.equal(labels, shares.argmax(dim=1))
    assert sorted(torch.bincount(labels, minlength=CLUSTERS).tolist()) == [2, 2, 3]


def test_absent_rows_take_no_part_in_the_balance():
    found, here = similarities(4), torch.arange(ROWS) % 3 != 2
    holed = found.clone()
    holed[~here] = torch.nan
    shares, labels = balanced_assignment(holed, present=here)
    alone, labels_alone = balanced_assignment(found[here])
    torch.testing.assert_close(shares[here], alone)
    assert torch.equal(labels[here], labels_alone)
    assert torch.equal(shares[~here], torch.zeros(int((~here).sum()), CLUSTERS))
    assert bool((labels[~here] == -1).all())
    nobody, none = balanced_assignment(found, present=torch.zeros(ROWS, dtype=torch.bool))
    assert torch.equal(nobody, torch.zeros(ROWS, CLUSTERS))
    assert bool((none == -1).all())
    assert balanced_assignment(torch.zeros(0, CLUSTERS))[1].shape == (0,)
    assert balanced_assignment(torch.zeros(1, CLUSTERS))[1].tolist() == [0]
