"""Transport plans against scaling the matrix itself, against POT, and at their limits."""

import numpy as np
import ot
import pytest
import torch

from awase.objectives import partial_plan, sinkhorn, transport_plan

ROWS, COLUMNS = 7, 3
SOME_ROWS = torch.tensor([0.1, 0.2, 0.1, 0.0, 0.3, 0.2, 0.1], dtype=torch.float64)
SOME_COLUMNS = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)


def some_scores(seed: int = 0, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (ROWS, COLUMNS)), generator=generator, dtype=torch.float64)


def uniform(size: int) -> torch.Tensor:
    return torch.full((size,), 1 / size, dtype=torch.float64)


def slow_plan(scores, epsilon, iterations, rows, columns, power=1.0):
    """diag(a') exp(scores / epsilon) diag(b'), its factors one at a time."""
    kernel = (scores / epsilon).exp()
    left, right = (rows > 0).double(), torch.ones_like(columns)
    for _ in range(iterations):
        right = torch.stack([(c / (left @ kernel[:, j])) ** power for j, c in enumerate(columns)])
        left = torch.stack([(r / (kernel[i] @ right)) ** power for i, r in enumerate(rows)])
    return left[:, None] * kernel * right


@pytest.fixture(params=["remembered", "exact"])
def sums(request, monkeypatch):
    """With the kernel of earlier potentials, and without: one that may move by nothing is never used."""
    if request.param == "exact":
        monkeypatch.setattr(sinkhorn, "SAFE", -1.0)


@pytest.mark.parametrize("iterations", [1, 3, 11])
def test_the_plan_is_the_scaled_matrix(iterations, sums):
    scores = some_scores()
    marginals = {"row_marginal": SOME_ROWS, "column_marginal": SOME_COLUMNS}
    found = transport_plan(scores, epsilon=0.4, iterations=iterations, **marginals)
    torch.testing.assert_close(found, slow_plan(scores, 0.4, iterations, SOME_ROWS, SOME_COLUMNS))
    found = transport_plan(scores, epsilon=0.4, iterations=iterations)
    torch.testing.assert_close(found, slow_plan(scores, 0.4, iterations, uniform(ROWS), uniform(COLUMNS)))
    found = transport_plan(scores, epsilon=0.4, iterations=iterations, rho=0.3, **marginals)
    torch.testing.assert_close(found, slow_plan(scores, 0.4, iterations, SOME_ROWS, SOME_COLUMNS, 0.3 / 0.7))


def test_the_kernel_of_earlier_potentials_is_used_and_left_where_it_must_be(monkeypatch):
    used, scores = [], some_scores(5, 2, 11, 13)

    def watched(*arguments, real=sinkhorn._product):
        found = real(*arguments)
        used.append(found is not None)
        return found

    monkeypatch.setattr(sinkhorn, "_product", watched)
    smooth = transport_plan(scores.float(), epsilon=0.2, iterations=20)
    assert used == [True] * 39  # 40 halves, of which the first makes the kernel
    used.clear()
    sharp = transport_plan(scores.float(), epsilon=1e-3, iterations=200)
    assert 0 < sum(used) < len(used)
    monkeypatch.setattr(sinkhorn, "SAFE", -1.0)
    torch.testing.assert_close(smooth, transport_plan(scores.float(), epsilon=0.2, iterations=20))
    exact = transport_plan(scores, epsilon=1e-3, iterations=200).float()
    # Logarithms of several thousand have errors of some 1e-4 in float32.
    torch.testing.assert_close(sharp, exact, rtol=1e-2, atol=1e-6)


def test_a_kernel_is_not_used_where_it_may_have_lost_terms():
    kernel, empty = torch.tensor([[[1.0, 0.0, 1e-20], [1.0, 0.0, 1e-20]]]), torch.tensor([[False, True, False]])
    moved = torch.tensor([[0.0, 1.0]])
    assert sinkhorn._product(moved, kernel, empty) is None  # the last column's sum is too small
    kernel[..., 2] = 1e-10
    expected = (moved.exp() @ kernel[0]).log()
    torch.testing.assert_close(sinkhorn._product(moved, kernel, empty), expected)
    assert sinkhorn._product(torch.tensor([[0.0, 31.0]]), kernel, empty) is None
    assert sinkhorn._product(torch.tensor([[0.0, -31.0]]), kernel, empty) is None
    assert sinkhorn._product(moved, kernel, ~empty) is None  # a sum of nothing that should be something


@pytest.mark.parametrize("seed", range(3))
def test_balanced_plans_are_those_of_pot(seed):
    scores = some_scores(seed)
    rows, columns = SOME_ROWS.clone(), SOME_COLUMNS
    rows[3], rows[4] = 0.15, 0.15
    found = transport_plan(scores, epsilon=0.3, iterations=5000, row_marginal=rows, column_marginal=columns)
    theirs = ot.solve((-scores).numpy(), rows.numpy(), columns.numpy(), reg=0.3, max_iter=5000, tol=1e-12)
    torch.testing.assert_close(found, torch.from_numpy(theirs.plan), rtol=1e-6, atol=1e-9)
    batched = ot.batch.solve_batch(-scores[None], 0.3, rows[None], columns[None], max_iter=5000, tol=1e-12)
    torch.testing.assert_close(found, batched.plan[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rho", [0.05, 1.0])
def test_unbalanced_plans_are_those_of_pot(rho):
    # Marginals of different sums, which only an unbalanced plan can have.
    rows, columns = 2 * uniform(ROWS), SOME_COLUMNS
    options = {"row_marginal": rows, "column_marginal": columns}
    found = transport_plan(some_scores(), epsilon=0.3, iterations=2000, rho=rho, **options)
    theirs = ot.unbalanced.sinkhorn_unbalanced(
        rows.numpy(),
        columns.numpy(),
        (-some_scores()).numpy(),
        0.3,
        rho,
        reg_type="kl",
        c=np.ones((ROWS, COLUMNS)),
        numItermax=20000,
        stopThr=1e-13,
    )
    torch.testing.assert_close(found, torch.from_numpy(theirs), rtol=1e-6, atol=1e-9)
    nearly = transport_plan(some_scores(), epsilon=0.3, iterations=2000, rho=1e7)
    torch.testing.assert_close(nearly, transport_plan(some_scores(), epsilon=0.3, iterations=2000), rtol=1e-5, atol=0)


def test_marginals_hold_and_every_problem_is_by_itself(monkeypatch):
    scores = some_scores(1, 2, 5, ROWS, COLUMNS)
    plan = transport_plan(scores, epsilon=0.5, iterations=200)
    torch.testing.assert_close(plan.sum(dim=-1), uniform(ROWS).expand(2, 5, -1))
    torch.testing.assert_close(plan.sum(dim=-2), uniform(COLUMNS).expand(2, 5, -1))
    torch.testing.assert_close(plan[1, 3], transport_plan(scores[1, 3], epsilon=0.5, iterations=200))
    monkeypatch.setattr("awase.objectives.transport.TOGETHER", 3 * ROWS * COLUMNS)
    torch.testing.assert_close(transport_plan(scores, epsilon=0.5, iterations=200), plan)
    rows = torch.rand(5, ROWS, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).softmax(dim=-1)
    found = transport_plan(scores, epsilon=0.5, iterations=200, row_marginal=rows)
    torch.testing.assert_close(found.sum(dim=-1), rows.expand(2, -1, -1))
    torch.testing.assert_close(
        found[1, 4], transport_plan(scores[1, 4], epsilon=0.5, iterations=200, row_marginal=rows[4])
    )


def test_it_ends_where_the_columns_hold(monkeypatch):
    scores, steps = some_scores(2, 3, ROWS, COLUMNS), []

    def counted(*arguments, real=sinkhorn._half_step):
        steps.append(None)
        return real(*arguments)

    monkeypatch.setattr(sinkhorn, "_half_step", counted)
    plan = transport_plan(scores, epsilon=0.3, iterations=1000, tolerance=1e-6)
    violations = (plan.sum(dim=-2) - 1 / COLUMNS).abs().sum(dim=-1)
    assert float(violations.max()) <= 1e-6
    iterations = len(steps) // 2
    assert 5 < iterations < 1000
    assert iterations % 5 == 0

    def violation(count):
        plan = transport_plan(scores, epsilon=0.3, iterations=count)
        return float((plan.sum(dim=-2) - 1 / COLUMNS).abs().sum(dim=-1).max())

    # What is looked at is the plan before the last iteration.
    assert violation(iterations - 1) <= 1e-6 < violation(iterations - 6)


def test_no_score_at_all_is_the_product_of_the_marginals():
    rows, columns = torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.125, 0.375])
    plan = transport_plan(torch.zeros(2, 3), iterations=1, row_marginal=rows, column_marginal=columns)
    torch.testing.assert_close(plan, rows[:, None] * columns)


def test_small_epsilons_do_not_overflow_and_find_the_best_permutation(sums):
    scores = torch.tensor([[3.0, 2.0, 0.0], [2.9, 0.0, 0.0], [0.0, 0.0, 1.0]])
    plan = transport_plan(scores, epsilon=1e-3, iterations=2000)
    # 2 + 2.9 + 1 is more than 3 + 0 + 1, though row 0 likes column 0 best.
    torch.testing.assert_close(plan, torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 1]]) / 3, rtol=1e-3, atol=1e-4)
    huge = transport_plan(1e6 * some_scores(0, 5, 5).bfloat16(), epsilon=0.01)
    assert huge.dtype == torch.float32
    assert bool(huge.isfinite().all())
    torch.testing.assert_close(huge.sum(dim=1), torch.full((5,), 0.2))


def test_small_epsilons_come_to_the_exact_plan_of_pot():
    scores = some_scores(6, 11, 11)
    exact = ot.emd(np.full(11, 1 / 11), np.full(11, 1 / 11), (-scores).numpy())
    plan = transport_plan(scores, epsilon=5e-3, iterations=20000, tolerance=1e-5)
    # What epsilon leaves beside the best pairs.
    torch.testing.assert_close(plan, torch.from_numpy(exact), rtol=1e-3, atol=1e-4)


def test_the_gradient_is_that_of_the_scaled_matrix():
    scores = some_scores(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: transport_plan(s, epsilon=0.5, iterations=3), [scores])
    assert torch.autograd.gradcheck(lambda s: transport_plan(s, epsilon=0.5, iterations=3, rho=0.2, log=True), [scores])
    options = {"iterations": 3, "row_marginal": SOME_ROWS, "column_marginal": SOME_COLUMNS}
    assert torch.autograd.gradcheck(lambda s: transport_plan(s, epsilon=0.5, **options), [scores])


def test_the_gradient_of_the_value_is_the_plan():
    scores = some_scores(2).requires_grad_()
    plan = transport_plan(scores, epsilon=0.5, iterations=500)
    ((plan * scores).sum() - 0.5 * (plan * plan.log()).sum()).backward()
    torch.testing.assert_close(scores.grad, plan.detach())


def test_empty_rows_hold_anything_and_forbidden_pairs_get_nothing(sums):
    scores = some_scores(0)
    holed = scores.clone()
    holed[3] = torch.nan
    marginals = {"row_marginal": SOME_ROWS, "column_marginal": SOME_COLUMNS}
    plan = transport_plan(holed, epsilon=0.4, **marginals)
    assert torch.equal(plan[3], torch.zeros(COLUMNS, dtype=torch.float64))
    torch.testing.assert_close(plan, transport_plan(scores, epsilon=0.4, **marginals))
    logs = transport_plan(holed, epsilon=0.4, log=True, **marginals)
    torch.testing.assert_close(logs.exp(), plan)
    assert bool(logs[3].isneginf().all())
    assert bool((transport_plan(holed, row_marginal=torch.zeros(ROWS)) == 0).all())
    assert bool((transport_plan(scores, column_marginal=torch.zeros(COLUMNS)) == 0).all())
    forbidden = scores.clone()
    forbidden[2, 1] = -torch.inf
    plan = transport_plan(forbidden, epsilon=0.4)
    assert plan[2, 1] == 0
    torch.testing.assert_close(plan.sum(dim=1), uniform(ROWS))


def test_one_row_and_none():
    torch.testing.assert_close(transport_plan(torch.randn(1, 5)), torch.full((1, 5), 0.2))
    torch.testing.assert_close(transport_plan(torch.randn(5, 1)), torch.full((5, 1), 0.2))
    assert transport_plan(torch.zeros(0, 5)).shape == (0, 5)
    assert transport_plan(torch.zeros(0, 2, 5)).shape == (0, 2, 5)


def test_what_is_out_of_range_is_refused(sums):
    for options in ({"epsilon": 0.0}, {"epsilon": float("nan")}, {"iterations": 0}, {"rho": 0.0}):
        with pytest.raises(ValueError, match="epsilon > 0, an iteration"):
            transport_plan(some_scores(), **options)
    for wrong in (torch.nan, torch.inf):
        scores = some_scores(0, 2, ROWS, COLUMNS)
        scores[1, 5, 2] = wrong
        with pytest.raises(ValueError, match="are numbers"):
            transport_plan(scores)
    with pytest.raises(ValueError, match="are numbers"):
        transport_plan(torch.full((2, 2), 1e38), epsilon=1e-6)


def slow_partial(scores, bucket, epsilon, iterations):
    rows, columns = scores.shape
    longer = torch.full((rows + 1, columns + 1), bucket, dtype=scores.dtype)
    longer[:-1, :-1] = scores
    one = torch.ones(1, dtype=scores.dtype)
    a = torch.cat([one.expand(rows), columns * one])
    b = torch.cat([one.expand(columns), rows * one])
    return slow_plan(longer, epsilon, iterations, a, b)[:-1, :-1]


def test_a_plan_with_a_bucket_is_the_longer_matrix_scaled():
    found = partial_plan(some_scores(), 0.3, epsilon=0.4, iterations=29)
    torch.testing.assert_close(found, slow_partial(some_scores(), 0.3, 0.4, 29))
    scores = some_scores(1, 2, ROWS, COLUMNS)
    buckets = torch.tensor([0.3, -1.0], dtype=torch.float64)
    found = partial_plan(scores, buckets, epsilon=0.4, iterations=29)
    for number in range(2):
        torch.testing.assert_close(found[number], slow_partial(scores[number], float(buckets[number]), 0.4, 29))
    assert torch.autograd.gradcheck(
        lambda b: partial_plan(scores, b, epsilon=0.4, iterations=3), [buckets.requires_grad_()]
    )


def test_a_sharp_plan_with_a_bucket_is_the_exact_partial_plan_of_pot():
    scores = some_scores(2, 5, 11)
    plan = partial_plan(scores, 1.0, epsilon=5e-3, iterations=20000, tolerance=1e-5)
    matched = float(plan.sum())
    assert 1 < matched < 5
    theirs = ot.partial.partial_wasserstein(np.ones(5), np.ones(11), (3 - scores).numpy(), m=round(matched))
    torch.testing.assert_close(plan, torch.from_numpy(theirs), rtol=1e-3, atol=1e-3)
    assert bool((scores[plan > 0.5] > 1.0).all())


def test_buckets_take_all_or_nothing_and_absent_rows_are_nothing():
    scores = some_scores(0, 5, 5)
    assert float(partial_plan(scores, 1e4).sum()) == 0
    everything = partial_plan(scores, -1e4, epsilon=0.5, iterations=500)
    # The two blocks exchange their last mass slowly, with the inverse of the iterations.
    torch.testing.assert_close(everything, 5 * transport_plan(scores, epsilon=0.5, iterations=500), rtol=5e-3, atol=0)
    here, there = torch.tensor([True, True, False, True, True]), torch.tensor([False, True, True, True, True])
    holed = scores.clone()
    holed[2], holed[:, 0] = torch.nan, torch.inf
    plan = partial_plan(holed, 0.2, row_present=here, column_present=there)
    torch.testing.assert_close(plan[here][:, there], partial_plan(scores[here][:, there], 0.2))
    assert float(plan[2].abs().sum() + plan[:, 0].abs().sum()) == 0
    nobody = torch.zeros(5, dtype=torch.bool)
    assert float(partial_plan(holed, 0.2, row_present=nobody, column_present=nobody).abs().sum()) == 0
    with pytest.raises(ValueError, match="are numbers"):
        partial_plan(scores, float("nan"))
