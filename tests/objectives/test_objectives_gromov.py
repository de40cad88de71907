"""Alignment with few known pairs: rotated copies, symmetries, and the objective against a loop."""

import sys

import pytest
import torch

from awase.objectives import fused_gromov_wasserstein

NUM, DIM, KNOWN = 43, 5, 3


def rotated(seed: int, known: int = KNOWN, noise: float = 0.0):
    """x, known_x and a rotation of both with y in another order; and which y belongs to each x."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(NUM + known, DIM, generator=generator, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator, dtype=torch.float64))
    turned = points @ rotation + noise * torch.randn(points.shape, generator=generator, dtype=torch.float64)
    order = torch.randperm(NUM, generator=generator)
    return points[:NUM], turned[:NUM][order], points[NUM:], turned[NUM:], order.argsort()


def share_right(plan: torch.Tensor, partners: torch.Tensor) -> float:
    return float((plan.argmax(dim=1) == partners).double().mean())


def distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.stack([1 - p @ q / (p.norm() * q.norm()) for q in b]) for p in a])


def slow_gradient(plan, x, y, known_x, known_y, alpha):
    """Of the objective without its entropy, one sum per cell."""
    d, e, to_x, to_y = distances(x, x), distances(y, y), distances(x, known_x), distances(y, known_y)
    found = torch.zeros_like(plan)
    for i in range(len(x)):
        for j in range(len(y)):
            structure = ((d[i][:, None] - e[j]) ** 2 * plan).sum()
            found[i, j] = 2 * alpha * structure + (1 - alpha) * ((to_x[i] - to_y[j]) ** 2).mean()
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_plan_of_a_rotated_copy_is_the_permutation(seed):
    *sides, partners = rotated(seed)
    plan = fused_gromov_wasserstein(*sides)
    assert share_right(plan, partners) == 1.0
    torch.testing.assert_close(plan.sum(dim=1), torch.full((NUM,), 1 / NUM, dtype=torch.float64), rtol=1e-3, atol=0)
    sure = plan[torch.arange(NUM), partners] * NUM
    assert float(sure.min()) > 0.8


def test_how_the_sides_lie_finds_what_the_known_pairs_alone_do_not():
    *sides, partners = rotated(0, noise=0.3)
    # Seen: 40 of 43 with both, 11 with the known pairs alone.
    assert share_right(fused_gromov_wasserstein(*sides), partners) > 0.9
    assert share_right(fused_gromov_wasserstein(*sides, alpha=0.0), partners) < 0.5


def test_the_plan_is_a_stationary_point_of_the_objective():
    x, y, known_x, known_y, _ = rotated(1, noise=0.3)
    x, y = x[:7], y[:11]
    plan = fused_gromov_wasserstein(x, y, known_x, known_y, epsilon=0.1, iterations=2000)
    # log P = u + v - gradient / epsilon: what is left has no interaction of rows and columns.
    rest = plan.log() + slow_gradient(plan, x, y, known_x, known_y, 0.5) / 0.1
    rest = rest - rest.mean(dim=0) - rest.mean(dim=1, keepdim=True) + rest.mean()
    # POT stops at changes of 1e-9.
    torch.testing.assert_close(rest, torch.zeros_like(rest), rtol=0, atol=1e-5)


def test_a_symmetry_that_keeps_the_known_pairs_leaves_the_choice_to_rounding():
    angles = torch.arange(7, dtype=torch.float64) * (2 * torch.pi / 7)
    heptagon = torch.stack([angles.cos(), angles.sin()], dim=1)
    on_the_axis = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    itself, mirrored, found = torch.arange(7), -torch.arange(7) % 7, set()
    for seed in range(7):
        noise = 1e-9 * torch.randn(7, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        plan = fused_gromov_wasserstein(heptagon, heptagon + noise, on_the_axis, on_the_axis)
        found.add((share_right(plan, itself), share_right(plan, mirrored)))
        assert float(plan.amax(dim=1).min()) > 0.9 / 7
    # Only the corner on the axis is its own image.
    assert found == {(1.0, 1 / 7), (1 / 7, 1.0)}
    beside = torch.cat([on_the_axis, torch.tensor([[0.3, 1.0]], dtype=torch.float64)])
    assert share_right(fused_gromov_wasserstein(heptagon, heptagon, beside, beside), itself) == 1.0
    with pytest.raises(ValueError, match="without any the plan is ambiguous"):
        fused_gromov_wasserstein(heptagon, heptagon, on_the_axis[:0], on_the_axis[:0])


def test_one_item_and_none_and_half_precision():
    known = torch.eye(DIM)[:2]
    one = torch.ones(1, DIM)
    torch.testing.assert_close(fused_gromov_wasserstein(one, one, known, known), torch.ones(1, 1))
    assert fused_gromov_wasserstein(torch.ones(0, DIM), torch.ones(3, DIM), known, known).shape == (0, 3)
    x, y, known_x, known_y, partners = rotated(0)
    plan = fused_gromov_wasserstein(x.float(), y.float(), known_x.float(), known_y.float())
    assert plan.dtype == torch.float32
    assert share_right(plan, partners) == 1.0
    assert not fused_gromov_wasserstein(x.requires_grad_(), y, known_x, known_y).requires_grad


def test_what_cannot_be_aligned_is_refused(monkeypatch):
    x, y, known_x, known_y, _ = rotated(0)
    with pytest.raises(ValueError, match="as many items of one side"):
        fused_gromov_wasserstein(x, y, known_x, known_y[:1])
    for options in ({"alpha": 1.5}, {"epsilon": 0.0}, {"iterations": 0}):
        with pytest.raises(ValueError, match=r"alpha is in \[0, 1\]"):
            fused_gromov_wasserstein(x, y, known_x, known_y, **options)
    with pytest.raises(ValueError, match="a larger epsilon"):
        fused_gromov_wasserstein(x, y, known_x, known_y, epsilon=1e-5)
    holed = y.clone()
    holed[2, 1] = torch.nan
    with pytest.raises(ValueError, match="finite numbers"):
        fused_gromov_wasserstein(x, holed, known_x, known_y)
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'awase\[transport\]'"):
        fused_gromov_wasserstein(x, y, known_x, known_y)
