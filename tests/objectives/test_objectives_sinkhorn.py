"""Sinkhorn in logarithms against scaling the matrix itself, its marginals and its limit."""

import pytest
import torch

from awase.objectives import balanced_assignment, sinkhorn_plan

ROWS, COLUMNS = 7, 3


def some_scores(seed: int = 0, *batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, ROWS, COLUMNS, generator=generator, dtype=torch.float64)


def slow_plan(scores, epsilon, iterations, rows, columns):
    """exp(scores / epsilon), its columns and rows scaled in turn, one at a time."""
    plan = (scores / epsilon).exp()
    plan = plan * (rows > 0)[:, None]
    for _ in range(iterations):
        for j in range(plan.shape[1]):
            plan[:, j] *= columns[j] / plan[:, j].sum()
        for i in range(plan.shape[0]):
            if rows[i] > 0:
                plan[i] *= rows[i] / plan[i].sum()
    return plan


@pytest.mark.parametrize("iterations", [1, 3, 11])
def test_the_plan_is_the_scaled_matrix(iterations):
    rows = torch.tensor([0.1, 0.2, 0.1, 0.0, 0.3, 0.2, 0.1], dtype=torch.float64)
    columns = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    scores = some_scores()
    found = sinkhorn_plan(scores, epsilon=0.4, iterations=iterations, row_marginal=rows, column_marginal=columns)
    torch.testing.assert_close(found, slow_plan(scores, 0.4, iterations, rows, columns))
    uniform = sinkhorn_plan(scores, epsilon=0.4, iterations=iterations)
    expected = slow_plan(scores, 0.4, iterations, torch.full((ROWS,), 1 / ROWS), torch.full((COLUMNS,), 1 / COLUMNS))
    torch.testing.assert_close(uniform, expected)


def test_marginals_hold_after_many_iterations_and_every_batch_entry_is_by_itself():
    scores = some_scores(1, 2, 5)
    plan = sinkhorn_plan(scores, epsilon=0.5, iterations=200)
    torch.testing.assert_close(plan.sum(dim=-1), torch.full((2, 5, ROWS), 1 / ROWS, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(dim=-2), torch.full((2, 5, COLUMNS), 1 / COLUMNS, dtype=torch.float64))
    torch.testing.assert_close(plan[1, 3], sinkhorn_plan(scores[1, 3], epsilon=0.5, iterations=200))


def test_no_score_at_all_is_the_product_of_the_marginals():
    rows, columns = torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.125, 0.375])
    plan = sinkhorn_plan(torch.zeros(2, 3), iterations=1, row_marginal=rows, column_marginal=columns)
    torch.testing.assert_close(plan, rows[:, None] * columns)


def test_small_epsilons_do_not_overflow_and_find_the_best_permutation():
    scores = torch.tensor([[3.0, 2.0, 0.0], [2.9, 0.0, 0.0], [0.0, 0.0, 1.0]])
    plan = sinkhorn_plan(scores, epsilon=1e-3, iterations=2000)
    # 2 + 2.9 + 1 is more than 3 + 0 + 1, though row 0 likes column 0 best.
    torch.testing.assert_close(plan, torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 1]]) / 3, rtol=1e-3, atol=1e-4)
    assert bool(sinkhorn_plan(1e4 * scores.bfloat16(), epsilon=0.01).isfinite().all())


def test_the_gradient_is_that_of_the_scaled_matrix():
    scores = some_scores(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: sinkhorn_plan(s, epsilon=0.5, iterations=3), [scores])


def test_clusters_become_equal_where_the_nearest_centroid_would_take_all():
    similarities = some_scores(3).float() / 4
    similarities[:, 0] += 2
    assert bool((similarities.argmax(dim=1) == 0).all())
    shares, labels = balanced_assignment(similarities, epsilon=0.05, iterations=300)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(ROWS))
    torch.testing.assert_close(shares.sum(dim=0), torch.full((COLUMNS,), ROWS / COLUMNS), rtol=1e-3, atol=1e-3)
    assert torch.equal(labels, shares.argmax(dim=1))
    assert sorted(torch.bincount(labels, minlength=COLUMNS).tolist()) == [2, 2, 3]


def test_absent_rows_take_no_part_in_the_balance():
    similarities, here = some_scores(4).float(), torch.arange(ROWS) % 3 != 2
    holed = similarities.clone()
    holed[~here] = torch.nan
    shares, labels = balanced_assignment(holed, present=here)
    alone, labels_alone = balanced_assignment(similarities[here])
    torch.testing.assert_close(shares[here], alone)
    assert torch.equal(labels[here], labels_alone)
    assert torch.equal(shares[~here], torch.zeros(int((~here).sum()), COLUMNS))
    assert bool((labels[~here] == -1).all())
    nobody, none = balanced_assignment(similarities, present=torch.zeros(ROWS, dtype=torch.bool))
    assert torch.equal(nobody, torch.zeros(ROWS, COLUMNS))
    assert bool((none == -1).all())
    assert balanced_assignment(torch.zeros(0, COLUMNS))[1].shape == (0,)
    assert balanced_assignment(torch.zeros(1, COLUMNS))[1].tolist() == [0]


def test_options_out_of_range_are_refused():
    for options in ({"epsilon": 0.0}, {"iterations": 0}):
        with pytest.raises(ValueError, match="epsilon > 0 and an iteration"):
            sinkhorn_plan(some_scores(), **options)
