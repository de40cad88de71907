"""Areas and volumes as contrastive losses against their definitions, one anchor and item at a time; with gradients."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from awase.objectives import triangle_area

ROWS, DIM, TEMPERATURE = 7, 5, 0.2
HERE = torch.tensor([True, True, False, True, True, False, True])
Loss = Callable[..., Tensor]


def embeddings(number: int, rows: int = ROWS) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (rows, DIM)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(number)]


def slow_area(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    u, v = x - y, x - z
    return 0.5 * (u.dot(u) * v.dot(v) - u.dot(v) ** 2 + 1e-6).sqrt()


def slow(size: Loss, parts: list[Tensor]) -> Tensor:
    """The mean over both directions of the cross entropy of the matching one, of minus the size by the temperature."""
    anchor, *items = (F.normalize(part, dim=1) for part in parts)
    rows = range(len(anchor))
    sizes = torch.stack([torch.stack([size(anchor[i], *(item[j] for item in items)) for j in rows]) for i in rows])
    scores = (-sizes / TEMPERATURE).exp()
    shares = [(scores[i, i] / scores[i].sum()).log() + (scores[i, i] / scores[:, i].sum()).log() for i in rows]
    return -torch.stack(shares) / 2


def assert_is_definition(fast: Loss, size: Loss, parts: list[Tensor], here: Tensor | None = None) -> None:
    """The losses, and the gradients of their mean, are those of the slow form on the rows that are there."""
    rows = torch.arange(len(parts[0])) if here is None else here.nonzero().squeeze(1)
    found, expected = fast(*parts), slow(size, [part[rows] for part in parts])
    torch.testing.assert_close(found[rows] * len(rows) / len(found), expected)
    ours = torch.autograd.grad(found.mean(), parts)
    for own, theirs in zip(ours, torch.autograd.grad(expected.mean(), parts), strict=True):
        torch.testing.assert_close(own, theirs)
        if here is not None:
            assert not own[~here].any()
    if here is not None:
        assert not found[~here].any()


def triangle(*parts: Tensor, present: Tensor | None = None) -> Tensor:
    return triangle_area(*parts, temperature=TEMPERATURE, present=present)


CASES = {"triangle": (triangle, slow_area, 3)}
everyone = pytest.mark.parametrize("case", CASES)


@pytest.mark.parametrize("rows", [ROWS, 1])
@everyone
def test_a_loss_is_its_definition(case: str, rows: int) -> None:
    fast, size, number = CASES[case]
    assert_is_definition(fast, size, embeddings(number, rows))


@everyone
def test_absent_samples_are_neither_anchors_nor_negatives(case: str) -> None:
    fast, size, number = CASES[case]
    parts = embeddings(number)
    assert_is_definition(lambda *parts: fast(*parts, present=HERE), size, parts, HERE)
    expected = fast(*parts, present=HERE)
    for place in range(number):
        broken = [part.detach().clone() for part in parts]
        broken[place][~HERE] = torch.nan
        broken[place].requires_grad_()
        found = fast(*broken, present=HERE)
        assert torch.equal(found, expected)
        found.sum().backward()
        assert bool(broken[place].grad.isfinite().all())
        assert not broken[place].grad[~HERE].any()


@everyone
def test_nobody_present_is_zeros_with_a_gradient_of_zero(case: str) -> None:
    fast, _, number = CASES[case]
    parts = embeddings(number)
    found = fast(*parts, present=torch.zeros(ROWS, dtype=torch.bool))
    found.sum().backward()
    assert not found.any()
    assert not any(part.grad.any() for part in parts)


@everyone
def test_one_sample_costs_nothing_and_a_collapse_the_logarithm_of_the_samples(case: str) -> None:
    fast, _, number = CASES[case]
    assert not fast(*embeddings(number, 1)).any()
    same = torch.randn(DIM, generator=torch.Generator().manual_seed(3)).expand(ROWS, DIM)
    for collapsed in (same, torch.zeros(ROWS, DIM)):
        parts = [collapsed.clone().requires_grad_() for _ in range(number)]
        found = fast(*parts)
        torch.testing.assert_close(found, torch.full((ROWS,), math.log(ROWS)))
        found.sum().backward()
        # All anchors and items are alike, so that what draws and what pushes is the same but for rounding.
        assert all(float(part.grad.abs().max()) < 1e-3 for part in parts)


@everyone
def test_where_nothing_is_spanned_the_gradient_is_small(case: str) -> None:
    """Every sample's own anchor and item coincide: without a floor their gradient is infinite."""
    fast, size, number = CASES[case]
    own = embeddings(1)[0].detach()
    parts = [own.clone().requires_grad_() for _ in range(number)]
    assert_is_definition(fast, size, parts)
    single = [own.float().requires_grad_() for _ in range(number)]
    fast(*single).sum().backward()
    fast(*parts).sum().backward()
    for one, double in zip(single, parts, strict=True):
        # Where float32 rounds a square of 0 the root's slope, up to 500, enlarges it: a thousandth of the gradient.
        torch.testing.assert_close(one.grad.double(), double.grad, rtol=1e-2, atol=1e-2)


@everyone
def test_half_precision_is_computed_in_float32(case: str) -> None:
    fast, _, number = CASES[case]
    assert fast(*(part.detach().bfloat16() for part in embeddings(number))).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fast(*(part.detach().float() for part in embeddings(number))).dtype == torch.float32


def test_the_area_of_right_angles_is_that_of_the_triangle_with_sides_of_root_two() -> None:
    corners = torch.eye(3, dtype=torch.float64)
    x, y, z = (torch.stack([corners[place], corners[0]]) for place in range(3))
    # Both anchors are the first axis; the first item is the two other axes, the second one twice the first axis.
    areas = torch.tensor([[math.sqrt(3) / 2, 0.0], [math.sqrt(3) / 2, 0.0]], dtype=torch.float64)
    scores = -(areas.square() + 1e-6 / 4).sqrt() / TEMPERATURE
    expected = -(scores.log_softmax(1).diagonal() + scores.log_softmax(0).diagonal()) / 2
    torch.testing.assert_close(triangle(x, y, z), expected)


def test_the_temperature_learns_and_one_of_zero_is_refused() -> None:
    parts = [part.detach() for part in embeddings(3)]
    number = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: triangle_area(*parts, temperature=t), number)
    with pytest.raises(ValueError, match=r"above 0; given: 0\.0"):
        triangle_area(*parts, temperature=0.0)
