"""The divergence of two spaces' similarities against its definition, one sample at a time; gradient included."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from awase.objectives import info_nce, similarity_distillation

ROWS, DIM, OLD_DIM, TEMPERATURE, SOFTENING = 7, 5, 3, 0.3, 2.0
HERE = torch.tensor([True, True, False, True, True, False, True])
Sides = tuple[Tensor, Tensor]


def sides(seed: int, rows: int = ROWS, dim: int = DIM) -> Sides:
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(rows, dim, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    return x, y


def fast(new: Sides, old: Sides, present: Tensor | None = None) -> Tensor:
    return similarity_distillation(new, old, temperature=TEMPERATURE, softening=SOFTENING, present=present)


def slow(new: Sides, old: Sides) -> Tensor:
    def shares(x: Tensor, y: Tensor) -> list[Tensor]:
        return [F.cosine_similarity(row[None], y).div(TEMPERATURE * SOFTENING).softmax(dim=0) for row in x]

    total = 0
    for (x, y), (old_x, old_y) in ((new, old), (new[::-1], old[::-1])):
        pairs = zip(shares(old_x.detach(), old_y.detach()), shares(x, y), strict=True)
        total = total + torch.stack([(p * (p / q).log()).sum() for p, q in pairs])
    return SOFTENING**2 * total / 2


@pytest.mark.parametrize("here", [None, HERE])
@pytest.mark.parametrize("rows", [ROWS, 1])
def test_it_is_the_divergence_of_rows_and_columns(rows: int, here: Tensor | None) -> None:
    new, old = sides(0, rows), sides(1, rows, OLD_DIM)
    mask = None if here is None else here[:rows]
    chosen = torch.ones(rows, dtype=torch.bool) if mask is None else mask
    found = fast(new, old, mask)
    expected = slow(*(tuple(side[chosen] for side in both) for both in (new, old)))
    torch.testing.assert_close(found[chosen] * chosen.sum() / rows, expected)
    assert torch.equal(found[~chosen], torch.zeros_like(found[~chosen]))
    ours = torch.autograd.grad(found.mean(), new)
    for own, theirs in zip(ours, torch.autograd.grad(expected.mean(), new), strict=True):
        torch.testing.assert_close(own, theirs)
        assert not own[~chosen].any()


def test_the_old_space_gets_no_gradient_and_is_where_the_loss_is_zero() -> None:
    new, old = sides(0), sides(1)
    fast(new, old).sum().backward()
    assert all(side.grad is None for side in old)
    same = fast(old, old)
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-14)
    for gradient in torch.autograd.grad(same.sum(), old):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-14)


def test_of_a_nearly_one_hot_old_space_it_is_info_nce() -> None:
    axes = torch.eye(ROWS, dtype=torch.float64)
    new = sides(0)
    found = similarity_distillation(new, (axes, axes), temperature=0.01)
    torch.testing.assert_close(found, info_nce(*new, temperature=0.01))


def test_what_is_absent_and_a_collapse_have_finite_gradients() -> None:
    new, old = sides(0), sides(1)
    expected = fast(new, old, HERE)
    broken = tuple(side.detach().masked_fill(~HERE[:, None], float("nan")).requires_grad_() for side in new)
    found = fast(broken, tuple(side.masked_fill(~HERE[:, None], float("nan")) for side in old), HERE)
    assert torch.equal(found, expected)
    found.sum().backward()
    assert all(bool(side.grad.isfinite().all()) and not side.grad[~HERE].any() for side in broken)
    nobody = fast(new, old, torch.zeros(ROWS, dtype=torch.bool))
    assert not nobody.any()
    assert not any(gradient.any() for gradient in torch.autograd.grad(nobody.sum(), new))
    zeros = torch.zeros(ROWS, DIM, requires_grad=True)
    fast((zeros, zeros), (zeros.detach(), zeros.detach())).sum().backward()
    assert not zeros.grad.any()


def test_the_temperature_learns_from_the_new_side_and_wrong_numbers_are_refused() -> None:
    new, old = (tuple(side.detach() for side in both) for both in (sides(0), sides(1)))
    number = torch.tensor(TEMPERATURE, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(similarity_distillation(new, old, temperature=number).sum(), number)
    x, y = (F.normalize(side, dim=1) for side in new)
    scores, targets = x @ y.T, F.normalize(old[0], dim=1) @ F.normalize(old[1], dim=1).T / TEMPERATURE
    crossed = [(targets.softmax(d) * (scores / number).log_softmax(d)).sum() for d in (0, 1)]
    torch.testing.assert_close(found, torch.autograd.grad(-sum(crossed) / 2, number)[0])
    with pytest.raises(ValueError, match=r"temperature is above 0; given: 0\.0"):
        similarity_distillation(new, old, temperature=0.0)
    with pytest.raises(ValueError, match="Softening is above 0; given: -1"):
        similarity_distillation(new, old, softening=-1.0)
