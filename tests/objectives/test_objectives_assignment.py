"""Clusters of equal size."""

import torch

from awase.objectives import ClusterMemory, assignment, balanced_assignment, transport_plan
from awase.objectives.sinkhorn import potentials

ROWS, CLUSTERS = 7, 3


def similarities(seed: int) -> torch.Tensor:
    return torch.randn(ROWS, CLUSTERS, generator=torch.Generator().manual_seed(seed))


def test_shares_are_the_rows_of_the_plan():
    plan = transport_plan(similarities(0), epsilon=0.05, iterations=3)
    shares, labels = balanced_assignment(similarities(0))
    torch.testing.assert_close(shares, ROWS * plan)
    assert torch.equal(labels, plan.argmax(dim=1))


def test_a_tiny_epsilon_neither_overflows_nor_changes_the_numbers():
    """Epsilon 0.002: a plain exponential of cosines is infinite, and of the smallest zero."""
    generator = torch.Generator().manual_seed(6)
    unit = torch.nn.functional.normalize
    rows = unit(torch.randn(59, 11, generator=generator), dim=1)
    cosines = rows @ unit(torch.randn(13, 11, generator=generator), dim=1).T
    assert bool((cosines / 0.002).exp().isinf().any())
    assert bool(((cosines / 0.002).exp() == 0).any())
    shares, labels = balanced_assignment(cosines, epsilon=0.002)
    logs = cosines.double() / 0.002
    for _ in range(3):
        for j in range(13):
            logs[:, j] -= logs[:, j].logsumexp(dim=0) + torch.tensor(13.0).log()
        for i in range(59):
            logs[i] -= logs[i].logsumexp(dim=0) + torch.tensor(59.0).log()
    # Scores of up to 500 have an error of 3e-5 in float32.
    torch.testing.assert_close(shares.double(), 59 * logs.exp(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(59))
    assert torch.equal(labels, logs.argmax(dim=1))


def test_it_is_the_one_sinkhorn(monkeypatch):
    seen = []

    def watched(logs, *given, **options):
        seen.append(logs.shape)
        return potentials(logs, *given, **options)

    monkeypatch.setattr(assignment, "potentials", watched)
    memory = ClusterMemory(5, num_clusters=CLUSTERS, queue_rows=8, assignment="sinkhorn")
    memory.step(torch.randn(11, 5, generator=torch.Generator().manual_seed(0)))
    memory.step(torch.randn(11, 5, generator=torch.Generator().manual_seed(1)))
    assert seen
    assert set(seen) == {(1, 11, CLUSTERS)}


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
