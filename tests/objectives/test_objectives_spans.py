"""Areas and volumes as contrastive losses against their definitions, one anchor and item at a time; with gradients."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from awase.objectives import triangle_area, triangle_scores, volume

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


def slow_volume(*vectors: Tensor) -> Tensor:
    return (torch.stack([torch.stack([one.dot(other) for other in vectors]) for one in vectors]).det() + 1e-6).sqrt()


def slow(size: Loss, parts: list[Tensor], smoothing: float = 0.0) -> Tensor:
    """The mean over both directions of the cross entropy of the matching one, of minus the size by the temperature."""
    anchor, *items = (F.normalize(part, dim=1) for part in parts)
    rows = range(len(anchor))
    sizes = torch.stack([torch.stack([size(anchor[i], *(item[j] for item in items)) for j in rows]) for i in rows])
    shares = (-sizes / TEMPERATURE).exp()
    targets = (1 - smoothing) * torch.eye(len(anchor), dtype=shares.dtype) + smoothing / len(anchor)
    losses = []
    for i in rows:
        row, column = (shares[i] / shares[i].sum()).log(), (shares[:, i] / shares[:, i].sum()).log()
        losses.append(-sum(targets[i, j] * (row[j] + column[j]) for j in rows) / 2)
    return torch.stack(losses)


def assert_is_definition(
    fast: Loss, size: Loss, parts: list[Tensor], here: Tensor | None = None, smoothing: float = 0.0
) -> None:
    """The losses, and the gradients of their mean, are those of the slow form on the rows that are there."""
    rows = torch.arange(len(parts[0])) if here is None else here.nonzero().squeeze(1)
    found, expected = fast(*parts), slow(size, [part[rows] for part in parts], smoothing)
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


def volume_of(*parts: Tensor, present: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    return volume(*parts, temperature=TEMPERATURE, present=present, smoothing=smoothing)


CASES = {
    "triangle": (triangle, slow_area, 3),
    "volume of 2": (volume_of, slow_volume, 2),
    "volume of 3": (volume_of, slow_volume, 3),
    "volume of 4": (volume_of, slow_volume, 4),
}
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
        # The root of the floor, 1e-3, moves by a tenth where float32 rounds the square of 0, and is divided by 0.2.
        torch.testing.assert_close(found, torch.full((ROWS,), math.log(ROWS)), rtol=0, atol=1e-3)
        found.sum().backward()
        # All anchors and items are alike, so that what draws and what pushes is the same but for rounding.
        assert all(float(part.grad.abs().max()) < 1e-3 for part in parts)


@everyone
def test_where_nothing_is_spanned_the_gradient_is_that_of_the_floor(case: str) -> None:
    """Own anchor and item coincide, and then two of them alone, exactly: without a floor the gradient is NaN."""
    fast, size, number = CASES[case]
    axes = torch.eye(DIM, dtype=torch.float64)
    for last in (axes, axes.roll(1, dims=0)):
        parts = [axes.clone().requires_grad_() for _ in range(number - 1)] + [last.clone().requires_grad_()]
        assert_is_definition(fast, size, parts)
        single = [part.detach().float().requires_grad_() for part in parts]
        fast(*single).sum().backward()
        fast(*parts).sum().backward()
        for one, double in zip(single, parts, strict=True):
            torch.testing.assert_close(one.grad.double(), double.grad, rtol=1e-4, atol=1e-4)  # float32, enlarged


@everyone
def test_half_precision_is_computed_in_float32(case: str) -> None:
    fast, _, number = CASES[case]
    assert fast(*(part.detach().bfloat16() for part in embeddings(number))).dtype == torch.float32
    parts = [part.detach().float() for part in embeddings(number)]
    expected = fast(*parts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fast(*parts), expected)


def test_the_area_of_right_angles_is_that_of_the_triangle_with_sides_of_root_two() -> None:
    corners = torch.eye(3, dtype=torch.float64)
    x, y, z = (torch.stack([corners[place], corners[0]]) for place in range(3))
    # Both anchors are the first axis; the first item is the two other axes, the second one twice the first axis.
    areas = torch.tensor([[math.sqrt(3) / 2, 0.0], [math.sqrt(3) / 2, 0.0]], dtype=torch.float64)
    scores = -(areas.square() + 1e-6 / 4).sqrt() / TEMPERATURE
    expected = -(scores.log_softmax(1).diagonal() + scores.log_softmax(0).diagonal()) / 2
    torch.testing.assert_close(triangle(x, y, z), expected)


@pytest.mark.parametrize("here", [None, HERE])
def test_smoothing_spreads_its_share_of_the_target_over_the_samples_present(here: Tensor | None) -> None:
    def fast(*parts: Tensor) -> Tensor:
        return volume_of(*parts, present=here, smoothing=0.3)

    assert_is_definition(fast, slow_volume, embeddings(3), here, smoothing=0.3)


def test_the_volume_of_two_is_the_sine_of_their_angle() -> None:
    angles = torch.tensor([0.3, 1.1, 2.5], dtype=torch.float64)
    x, y = (torch.stack([turned.cos(), turned.sin()], dim=1) for turned in (angles, 2 * angles))
    sines = (2 * angles[None] - angles[:, None]).sin()
    scores = -(sines.square() + 1e-6).sqrt() / TEMPERATURE
    expected = -(scores.log_softmax(1).diagonal() + scores.log_softmax(0).diagonal()) / 2
    torch.testing.assert_close(volume_of(x, y), expected)


def test_the_order_of_the_others_is_nothing() -> None:
    x, *others = embeddings(4)
    torch.testing.assert_close(volume_of(x, *others), volume_of(x, *others[::-1]))


def test_a_score_is_the_cosine_with_the_first_item_less_the_area() -> None:
    x, y, z = embeddings(3)
    found = triangle_scores(x, y[:3], z[:3], alpha=0.7)
    assert found.shape == (ROWS, 3)
    x, y, z = (F.normalize(part, dim=1) for part in (x, y, z))
    for i in range(ROWS):
        for j in range(3):
            torch.testing.assert_close(found[i, j], 0.7 * x[i].dot(y[j]) - slow_area(x[i], y[j], z[j]))


def test_the_temperature_learns_and_wrong_settings_are_refused() -> None:
    parts = [part.detach() for part in embeddings(3)]
    number = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    for loss in (triangle_area, volume):
        assert torch.autograd.gradcheck(lambda t, loss=loss: loss(*parts, temperature=t), number)
        with pytest.raises(ValueError, match=r"above 0; given: 0\.0"):
            loss(*parts, temperature=0.0)
    with pytest.raises(ValueError, match=r"share in \[0, 1\]; given: 1.5"):
        volume(*parts, smoothing=1.5)
    with pytest.raises(ValueError, match="at least one other embedding"):
        volume(parts[0])
