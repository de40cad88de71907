"""Soft targets and InfoNCE with them, against their definitions, one cell at a time; gradients included."""

from functools import partial

import pytest
import torch

from awase.objectives import info_nce, partial_plan, partial_targets, soft_targets, transport_plan

ROWS, DIM = 7, 5
HERE = torch.tensor([True, True, False, True, True, False, True])
NOBODY = torch.zeros(ROWS, dtype=torch.bool)
BOTH = [soft_targets, partial_targets]


def embeddings(seed: int, rows: int = ROWS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, DIM, generator=generator, dtype=torch.float64).requires_grad_()


def some_scores(seed: int = 0, rows: int = ROWS) -> torch.Tensor:
    return torch.randn(rows, rows, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_soft_targets(scores, beta=0.3, iterations=50):
    kernel, rows = scores.exp(), len(scores)
    for _ in range(iterations):
        for j in range(rows):
            kernel[:, j] /= rows * kernel[:, j].sum()
        for i in range(rows):
            kernel[i] /= rows * kernel[i].sum()
    return (1 - beta) * torch.eye(rows, dtype=scores.dtype) + beta * rows * kernel


def slow_loss(x, y, targets, temperature=0.07):
    """Cross-entropy of every row and of every column, the mean of both, per sample."""
    rows, losses = len(x), []
    cosines = [[(a * b).sum() / (a.norm() * b.norm()) / temperature for b in y] for a in x]
    for i in range(rows):
        row = torch.stack(cosines[i])
        column = torch.stack([cosines[j][i] for j in range(rows)])
        total = x.new_zeros(())
        for j in range(rows):
            total = total - targets[i, j] * (row[j].exp() / row.exp().sum()).log()
            total = total - targets[j, i] * (column[j].exp() / column.exp().sum()).log()
        losses.append(total / 2)
    return torch.stack(losses)


@pytest.mark.parametrize("rows", [ROWS, 1])
def test_soft_targets_are_their_definition(rows):
    scores = some_scores(0, rows)
    torch.testing.assert_close(soft_targets(scores), slow_soft_targets(scores))
    torch.testing.assert_close(soft_targets(scores, beta=0.0), torch.eye(rows, dtype=torch.float64))
    torch.testing.assert_close(soft_targets(scores).sum(dim=1), torch.ones(rows, dtype=torch.float64))
    sharper = soft_targets(scores, epsilon=0.5)
    torch.testing.assert_close(sharper, slow_soft_targets(2 * scores))


@pytest.mark.parametrize("rows", [ROWS, 1])
def test_partial_targets_are_their_definition(rows):
    scores = some_scores(1, rows)
    ordered = scores.diagonal().sort().values
    place = 0.3 * (rows - 1)
    low = int(place)
    bucket = ordered[low] + (place - low) * (ordered[min(low + 1, rows - 1)] - ordered[low])
    plan = partial_plan(scores, float(bucket), epsilon=0.1)
    expected = 0.3 * plan
    for i in range(rows):
        expected[i, i] += 0.7 * min(plan[i].sum(), plan[:, i].sum())
    torch.testing.assert_close(partial_targets(scores), expected)
    assert bool((partial_targets(scores).sum(dim=1) <= 1 + 1e-9).all())


def test_captions_that_match_nothing_have_little_weight():
    clips = torch.eye(11)
    captions = torch.eye(11)
    captions[3], captions[8] = -1.0, -1.0  # about nothing
    captions[5], captions[6] = clips[6], clips[5]  # exchanged
    scores = clips @ captions.T + 1e-3 * some_scores(0, 11).float()
    found = partial_targets(scores, beta=0.5)
    good = [i for i in range(11) if i not in (3, 8, 5, 6)]
    assert bool((found.sum(dim=0)[[3, 8]] < 0.01).all())
    assert bool((found.sum(dim=1)[[3, 8]] < 0.5).all())
    assert bool((found.diagonal()[good] > 0.7).all())
    # The exchanged captions stay with their own pair as far as beta says, and go to the clip that they are about.
    assert float(found[5, 6]) > 0.3
    assert float(found[6, 5]) > 0.3
    balanced = soft_targets(scores, beta=0.5)
    torch.testing.assert_close(balanced.sum(dim=0), torch.ones(11))


@pytest.mark.parametrize("targets", BOTH)
@pytest.mark.parametrize("rows", [ROWS, 1])
def test_the_loss_is_its_definition(targets, rows):
    x, y = embeddings(0, rows), embeddings(1, rows)
    found = info_nce(x, y, targets=targets)
    cosines = torch.nn.functional.normalize(x, dim=1) @ torch.nn.functional.normalize(y, dim=1).T
    expected = slow_loss(x, y, targets((cosines / 0.07).detach()))
    torch.testing.assert_close(found, expected)
    ours = torch.autograd.grad(found.mean(), [x, y])
    for own, theirs in zip(ours, torch.autograd.grad(expected.mean(), [x, y]), strict=True):
        torch.testing.assert_close(own, theirs)


def test_the_known_pairs_as_targets_are_info_nce():
    x, y = embeddings(0), embeddings(1)
    torch.testing.assert_close(info_nce(x, y, targets=partial(soft_targets, beta=0.0)), info_nce(x, y))
    found = info_nce(x, y, targets=lambda scores, present: torch.eye(len(scores)), present=HERE)
    torch.testing.assert_close(found, info_nce(x, y, present=HERE))


def test_no_gradient_passes_through_the_targets_and_a_temperature_learns():
    x, y = embeddings(0), embeddings(1)
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    seen = []

    def watched(scores, *, present):
        seen.append((scores.requires_grad, present))
        return soft_targets(scores, present=present)

    info_nce(x, y, temperature=temperature, targets=watched).mean().backward()
    assert seen == [(False, None)]
    assert not soft_targets(some_scores().requires_grad_()).requires_grad
    assert not partial_targets(some_scores().requires_grad_()).requires_grad
    fixed = soft_targets((torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(y).T / 0.3).detach())
    other = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    slow_loss(x, y, fixed, other).mean().backward()
    torch.testing.assert_close(temperature.grad, other.grad)


@pytest.mark.parametrize("targets", BOTH)
def test_absent_rows_are_neither_targets_nor_negatives(targets):
    scores = some_scores(2)
    holed = scores.clone()
    holed[~HERE], holed[:, ~HERE] = torch.nan, torch.inf
    found = targets(holed, present=HERE)
    torch.testing.assert_close(found[HERE][:, HERE], targets(scores[HERE][:, HERE]))
    assert float(found[~HERE].abs().sum() + found[:, ~HERE].abs().sum()) == 0
    assert float(targets(holed, present=NOBODY).abs().sum()) == 0
    x, y = embeddings(0), embeddings(1)
    few = info_nce(x[HERE], y[HERE], targets=targets)
    poisoned = x.detach().clone()
    poisoned[~HERE] = torch.nan
    losses = info_nce(poisoned.requires_grad_(), y, targets=targets, present=HERE)
    torch.testing.assert_close(losses[HERE] * 5 / 7, few)
    assert float(losses[~HERE].detach().abs().sum()) == 0
    losses.mean().backward()
    torch.testing.assert_close(poisoned.grad[HERE], torch.autograd.grad(few.mean(), x)[0][HERE])
    assert float(poisoned.grad[~HERE].abs().sum()) == 0
    nothing = info_nce(x, y, targets=targets, present=NOBODY)
    assert float(nothing.detach().abs().sum()) == 0
    nothing.sum().backward()
    assert float(x.grad.abs().sum()) == 0


@pytest.mark.parametrize("targets", BOTH)
def test_extremes_are_finite_and_what_is_no_number_is_refused(targets):
    assert bool(targets(1e5 * some_scores()).isfinite().all())
    assert targets(some_scores().bfloat16()).dtype == torch.float32
    x, y = embeddings(0).detach(), embeddings(1).detach()
    assert info_nce(x.bfloat16(), y.bfloat16(), targets=targets).dtype == torch.float32
    collapsed = torch.zeros(ROWS, DIM, requires_grad=True)
    info_nce(collapsed, collapsed, targets=targets).sum().backward()
    assert bool(collapsed.grad.isfinite().all())
    for place in ((2, 2), (2, 4)):
        holed = some_scores()
        holed[place] = torch.nan
        with pytest.raises(ValueError, match="are numbers"):
            targets(holed)
    for beta in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r"beta of soft targets is a share in \[0, 1\]"):
            targets(some_scores(), beta=beta)
    with pytest.raises(ValueError, match="quantile of soft targets"):
        partial_targets(some_scores(), quantile=1.5)
    with pytest.raises(ValueError, match="temperature is above 0"):
        info_nce(x, y, temperature=0.0, targets=targets)


def test_the_plan_of_soft_targets_is_the_transport_plan():
    torch.testing.assert_close(
        soft_targets(some_scores(), beta=1.0), ROWS * transport_plan(some_scores(), epsilon=1.0, iterations=50)
    )
