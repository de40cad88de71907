"""The memory of clusters against a concatenated queue assigned as a whole; resumed against uninterrupted."""

import copy

import pytest
import torch

from awase.objectives import ClusterMemory, assign, kmeans

DIM, CLUSTERS, BATCH, CAPACITY = 5, 3, 8, 12
HALF = slice(0, 4)


def memory(**options) -> ClusterMemory:
    return ClusterMemory(DIM, **{"num_clusters": CLUSTERS, "queue_rows": CAPACITY, "refit_every": 4} | options)


def batch(step: int, rows: int = BATCH) -> torch.Tensor:
    return torch.randn(rows, DIM, generator=torch.Generator().manual_seed(100 + step))


def in_order(found: ClusterMemory) -> torch.Tensor:
    """What is in the ring, the oldest row first."""
    state = found.state
    if state["filled"] < len(found.queue):
        return found.queue[: state["filled"]]
    return torch.cat([found.queue[state["write"] :], found.queue[: state["write"]]])


@pytest.mark.parametrize("sizes", [(4,) * 9, (5, 7, 1, 0, 11, 2, 12, 3), (13, 29, 6), (1,) * 30])
def test_the_ring_holds_what_a_concatenated_queue_holds(sizes):
    found, naive = memory(), torch.zeros(0, DIM)
    for step, rows in enumerate(sizes):
        new = batch(step, rows)
        found.step(new)
        naive = torch.cat([naive, new])[-CAPACITY:]
        assert torch.equal(in_order(found), naive)


def test_rows_are_pushed_by_slice_by_mask_or_all_if_they_are_present():
    rows, present = batch(0), torch.tensor([True, False, True, True, True, True, False, True])
    mask = torch.tensor([True, True, True, False, False, True, True, False])
    for push, here, expected in (
        (None, None, rows),
        (HALF, None, rows[:4]),
        (slice(None, None, 3), present, rows[[0, 3]]),
        (mask, None, rows[mask]),
        (mask, present, rows[[0, 2, 5]]),
        (None, present, rows[present]),
    ):
        found = memory()
        found.step(rows, here, push)
        assert torch.equal(in_order(found), expected)


def slow_labels(steps, refit_every, capacity):
    """The whole queue concatenated and assigned at every step; k-means as ours, from the last centroids."""
    queue, centroids, found, since = torch.zeros(0, DIM), None, [], 0
    for step in range(steps):
        rows = batch(step)
        everything = torch.cat([queue, rows]) if len(queue) == capacity else rows
        if centroids is None or since == refit_every:
            start = torch.Generator().manual_seed(0) if centroids is None else centroids
            centroids, since = kmeans(everything, CLUSTERS, start).centroids, 0
        found.append(assign(everything, centroids)[0][-BATCH:])
        since += 1
        queue = torch.cat([queue, rows[HALF]])[-capacity:]
    return found, centroids


def test_assigning_the_batch_alone_is_assigning_everything():
    found = memory()
    expected, centroids = slow_labels(13, 4, CAPACITY)
    for step, labels in enumerate(expected):
        assert torch.equal(found.step(batch(step), push=HALF), labels)
    # The ring gives k-means the same rows in another order, so the sums are rounded otherwise.
    torch.testing.assert_close(found.centroids, centroids)
    assert found.state["fits"] == 4


def test_a_fit_is_due_at_first_and_every_so_many_steps_and_starts_from_the_last():
    found = memory(refit_every=3)
    fits = []
    for step in range(8):
        before = found.centroids.clone()
        found.step(batch(step), push=HALF)
        fits.append(found.state["fits"])
        assert torch.equal(before, found.centroids) == (step % 3 != 0)
    assert fits == [1, 1, 1, 2, 2, 2, 3, 3]
    cold = memory(refit_every=1, warm_start=False, queue_rows=0)
    warm = memory(refit_every=1, queue_rows=0)
    for step in range(2):
        cold.step(batch(step))
        start = warm.centroids.clone()
        warm.step(batch(step))
    assert torch.equal(cold.centroids, kmeans(batch(1), CLUSTERS, torch.Generator().manual_seed(1)).centroids)
    assert torch.equal(warm.centroids, kmeans(batch(1), CLUSTERS, start).centroids)


def test_a_queue_that_is_not_full_is_left_out_unless_asked_for():
    alone, mixed = (
        memory(refit_every=1, warm_start=False),
        memory(refit_every=1, warm_start=False, start_when_full=False),
    )
    for step in range(2):
        alone.step(batch(step), push=HALF)
        mixed.step(batch(step), push=HALF)
    draws = [torch.Generator().manual_seed(1) for _ in range(2)]
    assert torch.equal(alone.centroids, kmeans(batch(1), CLUSTERS, draws[0]).centroids)
    both = torch.cat([batch(0)[HALF], batch(1)])
    assert torch.equal(mixed.centroids, kmeans(both, CLUSTERS, draws[1]).centroids)


def test_fewer_rows_than_clusters_wait_without_labels():
    found = memory(start_when_full=False)
    assert found.step(batch(0, 2)).tolist() == [-1, -1]
    assert found.state["fits"] == 0
    assert found.step(batch(1, 0)).shape == (0,)
    labels = found.step(batch(2, 1))  # two rows in the queue and this one
    assert found.state["fits"] == 1
    assert 0 <= int(labels) < CLUSTERS


def test_absent_rows_have_no_label_and_no_say():
    rows, present = batch(0), torch.tensor([True, False, True, True, True, True, False, True])
    holed = rows.clone()
    holed[~present] = torch.nan
    for assignment in ("kmeans", "sinkhorn"):
        found, alone = memory(assignment=assignment), memory(assignment=assignment)
        labels = found.step(holed, present)
        assert bool((labels[~present] == -1).all())
        assert torch.equal(labels[present], alone.step(rows[present]))
        for name, value in found.state_dict().items():
            assert torch.equal(value, alone.state_dict()[name])
    nobody = memory()
    assert nobody.step(rows, torch.zeros(BATCH, dtype=torch.bool)).tolist() == [-1] * BATCH
    assert nobody.state["filled"] == 0


def test_sinkhorn_fills_every_cluster():
    rows = batch(0, 60) * 0.1 + torch.tensor([3.0, 0, 0, 0, 0])
    found = memory(assignment="sinkhorn", refit_every=100)
    found.step(batch(1))  # centroids of something else
    nearest = torch.bincount(assign(rows, found.centroids)[0], minlength=CLUSTERS)
    balanced = torch.bincount(found.step(rows), minlength=CLUSTERS)
    assert int(nearest.min()) == 0
    assert int(balanced.min()) >= 10


@pytest.mark.parametrize("options", [{}, {"reset_each_epoch": True}, {"warm_start": False, "spherical": True}])
def test_a_resumed_memory_goes_on_as_the_uninterrupted_one(options):
    def run(found: ClusterMemory, steps: range) -> list[torch.Tensor]:
        labels = []
        for step in steps:
            found.begin_epoch(step // 5)
            labels.append(found.step(batch(step), push=HALF))
        return labels

    straight = memory(**options)
    expected = run(straight, range(14))
    for cut in (1, 5, 7, 10):
        first = memory(**options)
        labels = run(first, range(cut))
        resumed = memory(**options)
        resumed.load_state_dict(copy.deepcopy(first.state_dict()))
        for name, value in first.state_dict().items():
            assert torch.equal(resumed.state_dict()[name], value)
        copied = memory(**options)
        for name, value in copied.state_dict().items():  # as the loop does it: in place
            value.copy_(first.state_dict()[name])
        for again in (resumed, copied):
            assert all(map(torch.equal, labels + run(again, range(cut, 14)), expected))
            for name, value in straight.state_dict().items():
                assert torch.equal(again.state_dict()[name], value)


def test_an_epoch_forgets_the_centroids_once_and_a_reset_everything():
    found = memory(reset_each_epoch=True)
    found.begin_epoch(0)
    found.step(batch(0))
    found.begin_epoch(0)
    assert found.state == {"write": 8, "filled": 8, "fitted": 1, "steps_since_fit": 1, "fits": 1, "epoch": 1}
    found.begin_epoch(1)
    assert found.state["fitted"] == 0
    assert found.state["filled"] == 8
    found.step(batch(1))
    assert found.state["fits"] == 2
    kept = memory()
    kept.begin_epoch(0)
    kept.step(batch(0))
    kept.begin_epoch(1)
    assert kept.state["fitted"] == 1
    found.reset()
    assert all(torch.equal(value, torch.zeros_like(value)) for value in found.state_dict().values())
    assert torch.equal(found.step(batch(0)), memory().step(batch(0)))


def test_the_state_is_buffers_and_no_gradient_passes():
    found = memory()
    assert list(found.parameters()) == []
    assert set(found.state_dict()) == {"queue", "centroids", "counters"}
    rows = batch(0).requires_grad_()
    found.step(rows)
    assert not any(value.requires_grad for value in found.state_dict().values())
    assert found.last_fit is not None
    assert found.last_fit.dead == 0


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="refit_every=0"):
        memory(refit_every=0)
    with pytest.raises(ValueError, match="queue_rows=-1"):
        memory(queue_rows=-1)
    with pytest.raises(ValueError, match="1 of 8 rows to cluster are not finite"):
        memory().step(batch(0).index_fill(0, torch.tensor([3]), torch.nan))


def test_counters_are_read_again_where_somebody_else_wrote_them():
    found, other = memory(), memory()
    found.step(batch(0))
    for step in range(6):
        other.step(batch(step))
    assert found.state != other.state
    found.counters.copy_(other.counters)  # as a checkpoint is put back
    assert found.state == other.state
    found.load_state_dict(memory().state_dict())
    assert set(found.state.values()) == {0}
    twin = copy.deepcopy(other)
    twin.step(batch(9))
    for one in (twin, other):
        assert list(one.state.values()) == one.counters.tolist()
    assert twin.state["filled"] == other.state["filled"] == CAPACITY
    assert twin.state != other.state
    other.reset()
    assert set(other.state.values()) == {0}
