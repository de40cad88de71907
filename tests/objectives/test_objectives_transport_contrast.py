"""Inverse optimal transport: against scaling a matrix in a loop, its limits, and its gradient."""

import pytest
import torch
from torch.nn import functional as F

from awase.objectives import transport_contrast

ROWS, DIM = 7, 5
HERE = torch.tensor([True, True, False, True, True, False, True])
NOBODY = torch.zeros(ROWS, dtype=torch.bool)


def embeddings(seed: int, rows: int = ROWS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, DIM, generator=generator, dtype=torch.float64).requires_grad_()


def logits(x, y, temperature):
    return F.normalize(x, dim=1) @ F.normalize(y, dim=1).T / temperature


def slow_contrast(x, y, temperature, iterations):
    """-log(n P_ii) of the matrix whose columns and rows are scaled in turn, and the rows once more."""
    plan, rows = logits(x, y, temperature).exp(), len(x)
    for _ in range(iterations):
        plan = plan / (rows * plan.sum(dim=0))
        plan = plan / (rows * plan.sum(dim=1, keepdim=True))
    plan = plan / (rows * plan.sum(dim=1, keepdim=True))
    return torch.stack([-(rows * plan[i, i]).log() for i in range(rows)])


@pytest.mark.parametrize("iterations", [0, 1, 3, 200])
@pytest.mark.parametrize("rows", [ROWS, 1])
def test_the_loss_is_its_definition(iterations, rows):
    x, y = embeddings(0, rows), embeddings(1, rows)
    found = transport_contrast(x, y, temperature=0.5, iterations=iterations)
    torch.testing.assert_close(found, slow_contrast(x, y, 0.5, iterations))
    torch.testing.assert_close(found.mean(), slow_contrast(x, y, 0.5, iterations).mean())


def test_a_single_half_step_is_one_direction_of_info_nce():
    x, y = embeddings(0), embeddings(1)
    found = transport_contrast(x, y, temperature=0.3, iterations=0)
    expected = F.cross_entropy(logits(x, y, 0.3), torch.arange(ROWS), reduction="none")
    torch.testing.assert_close(found, expected)
    for own, theirs in zip(
        torch.autograd.grad(found.mean(), [x, y]), torch.autograd.grad(expected.mean(), [x, y]), strict=True
    ):
        torch.testing.assert_close(own, theirs)


def test_the_gradient_is_that_of_the_loop_where_it_converges():
    x, y = embeddings(0), embeddings(1)
    temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    # The columns are within 1e-12 then; the gradient is as close.
    found = transport_contrast(x, y, temperature=temperature, iterations=500).mean()
    expected = slow_contrast(x, y, temperature, 500).mean()
    for own, theirs in zip(
        torch.autograd.grad(found, [x, y, temperature]),
        torch.autograd.grad(expected, [x, y, temperature]),
        strict=True,
    ):
        torch.testing.assert_close(own, theirs)
    turned = transport_contrast(y, x, temperature=0.4, iterations=500).mean()
    torch.testing.assert_close(turned, found)


def test_the_gradient_short_of_that_is_off_by_as_much_as_the_columns():
    x, y = embeddings(0), embeddings(1)
    errors = []
    for iterations in (1, 3, 9, 27):
        ours = torch.autograd.grad(transport_contrast(x, y, temperature=0.4, iterations=iterations).mean(), x)[0]
        loop = torch.autograd.grad(slow_contrast(x, y, 0.4, iterations).mean(), x)[0]
        errors.append(float((ours - loop).norm() / loop.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-3
    assert errors[-1] < 1e-4


def test_a_hub_costs_less_than_in_info_nce():
    y = torch.eye(ROWS, dtype=torch.float64)
    x = y + 0.5
    y[0] = 1.0  # similar to all
    info_nce = transport_contrast(x, y, temperature=0.2, iterations=0)
    ours = transport_contrast(x, y, temperature=0.2)
    assert bool((ours[1:] < info_nce[1:]).all())
    assert float(ours[0]) > float(info_nce[0])


def test_absent_rows_take_no_part():
    x, y = embeddings(0), embeddings(1)
    poisoned = x.detach().clone()
    poisoned[~HERE] = torch.nan
    losses = transport_contrast(poisoned.requires_grad_(), y, present=HERE)
    few = transport_contrast(x[HERE], y[HERE])
    torch.testing.assert_close(losses[HERE] * 5 / 7, few)
    assert float(losses[~HERE].detach().abs().sum()) == 0
    losses.mean().backward()
    torch.testing.assert_close(poisoned.grad[HERE], torch.autograd.grad(few.mean(), x)[0][HERE])
    assert float(poisoned.grad[~HERE].abs().sum()) == 0
    nothing = transport_contrast(x, y, present=NOBODY)
    assert float(nothing.detach().abs().sum()) == 0
    nothing.sum().backward()
    assert float(x.grad.abs().sum()) == 0


def test_extremes_are_finite_nan_stays_nan_and_options_out_of_range_are_refused():
    x, y = embeddings(0).detach(), embeddings(1).detach()
    assert transport_contrast(x.bfloat16(), y.bfloat16()).dtype == torch.float32
    assert bool(transport_contrast(x.float(), -x.float(), temperature=1e-4).isfinite().all())
    collapsed = torch.zeros(ROWS, DIM, requires_grad=True)
    transport_contrast(collapsed, collapsed).sum().backward()
    assert bool(collapsed.grad.isfinite().all())
    holed = x.clone()
    holed[2, 3] = torch.nan
    assert bool(transport_contrast(holed, y).isnan().any())
    for options in ({"temperature": 0.0}, {"iterations": -1}):
        with pytest.raises(ValueError, match="temperature is above 0, iterations are 0 or more"):
            transport_contrast(x, y, **options)
