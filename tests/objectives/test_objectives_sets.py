"""Losses of three modalities and more against their definitions, one pair at a time; gradients included."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from awase.objectives import (
    info_nce,
    one_versus_fused,
    triangle_areas,
    triangle_contrast,
    triangle_scores,
    volume_contrast,
    volumes,
)

ROWS, DIM = 7, 5
EPSILON = 1e-6
NAMES = ("audio", "flow", "text", "video")
AUDIO = torch.tensor([True, True, False, True, True, False, True])
TEXT = torch.tensor([True, False, False, True, True, True, True])
SETS = {"one_versus_fused": (one_versus_fused, 3), "triangle": (triangle_contrast, 3)}
SETS |= {f"volume-{count}": (volume_contrast, count) for count in (2, 3, 4)}


def embeddings(count: int, rows: int = ROWS, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    """Of the modalities that begin with audio; with three, those of the masks below."""
    names = ("audio", "text") if count == 2 else ("audio", "text", "video") if count == 3 else NAMES
    generator = torch.Generator().manual_seed(count)
    return {
        n: torch.randn(rows, DIM, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for n in names
    }


def masks(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor | None]:
    return dict.fromkeys(found) | {"audio": AUDIO, "text": TEXT}


def loss_of(name: str, found, present, **options):
    loss, _ = SETS[name]
    anchor = {} if name == "one_versus_fused" else {"anchor": "text"}
    return loss(found, present, **anchor, **options)


def cross_entropies(score, rows: list[int], i: int, smoothing: float) -> torch.Tensor:
    """The mean of both directions of sample i, among these rows."""
    total = 0.0
    for line in ([score(i, j) for j in rows], [score(j, i) for j in rows]):
        normaliser = sum(value.exp() for value in line).log()
        own = line[rows.index(i)]
        total = total + (1 - smoothing) * (normaliser - own)
        total = total + smoothing * sum(normaliser - value for value in line) / len(rows)
    return total / 2


def slow_area(x, y, z):
    u, v = x - y, x - z
    return 0.5 * ((u @ u) * (v @ v) - (u @ v) ** 2 + EPSILON).sqrt()


def slow_volume(*vectors):
    stacked = torch.stack(vectors)
    return (torch.linalg.det(stacked @ stacked.T) + EPSILON).sqrt()


def slow_sizes(name, found, temperature, smoothing, here):
    """The sum over the samples that count, divided by their number."""
    units = {n: value / value.norm(dim=1, keepdim=True) for n, value in found.items()}
    x = units.pop("text")
    size = slow_area if name == "triangle" else slow_volume

    def score(i, j):
        return -size(x[i], *(rows[j] for rows in units.values())) / temperature

    rows = here.nonzero().squeeze(1).tolist()
    return sum(cross_entropies(score, rows, i, smoothing) for i in rows) / len(rows)


def slow_fused(found, present, temperature):
    units = {n: value / value.norm(dim=1, keepdim=True) for n, value in found.items()}
    total = 0.0
    for name, own in units.items():
        fused = []
        for row in range(len(own)):
            others = [units[n][row] for n in units if n != name and (present[n] is None or present[n][row])]
            there = others and (present[name] is None or present[name][row])
            mean = sum(others) / len(others) if there else None
            fused.append(mean / mean.norm() if there else None)
        rows = [row for row in range(len(own)) if fused[row] is not None]
        if rows:
            scores = {(i, j): own[i] @ fused[j] / temperature for i in rows for j in rows}
            losses = [cross_entropies(lambda i, j, s=scores: s[i, j], rows, i, 0.0) for i in rows]
            total = total + sum(losses) / len(rows)
    return total / len(units)


def slow(name, found, present, temperature=0.07, smoothing=0.1):
    if name == "one_versus_fused":
        return slow_fused(found, present, temperature)
    here = torch.ones(len(found["text"]), dtype=torch.bool)
    for n in found:
        here = here if present[n] is None else here & present[n]
    return slow_sizes(name, found, temperature, smoothing, here)


def assert_same_with_gradients(mean, expected, tensors):
    torch.testing.assert_close(mean, expected)
    ours = torch.autograd.grad(mean, tensors)
    for own, theirs in zip(ours, torch.autograd.grad(expected, tensors), strict=True):
        torch.testing.assert_close(own, theirs)


@pytest.mark.parametrize("rows", [ROWS, 1])
@pytest.mark.parametrize("name", sorted(SETS))
def test_a_loss_of_a_set_is_its_definition(name, rows):
    found = embeddings(SETS[name][1], rows)
    everyone = dict.fromkeys(found)
    mean = loss_of(name, found, everyone).mean()
    assert_same_with_gradients(mean, slow(name, found, everyone), list(found.values()))
    if rows == 1:
        # The logarithm of a softmax of one, in float64.
        assert abs(float(mean.detach())) < 1e-12


@pytest.mark.parametrize("name", sorted(SETS))
def test_a_missing_modality_counts_for_nothing(name):
    found = embeddings(SETS[name][1])
    present = masks(found)
    losses = loss_of(name, found, present)
    assert_same_with_gradients(losses.mean(), slow(name, found, present), list(found.values()))
    # Sample 2 has neither audio nor text: with two others or more it has nothing to be compared with.
    assert losses[2].item() == 0
    assert name == "one_versus_fused" or torch.equal(losses == 0, ~(AUDIO & TEXT))
    gradients = torch.autograd.grad(loss_of(name, found, present).sum(), list(found.values()))
    for n, gradient in zip(found, gradients, strict=True):
        here = present[n]
        assert here is None or torch.equal(gradient[~here], torch.zeros_like(gradient[~here]))


@pytest.mark.parametrize("name", sorted(SETS))
def test_what_absent_rows_hold_does_not_matter(name):
    found = {n: value.detach() for n, value in embeddings(SETS[name][1]).items()}
    present = masks(found)
    expected = loss_of(name, found, present)
    for n in ("audio", "text"):
        found[n] = found[n].masked_fill(~present[n][:, None], torch.nan).requires_grad_()
    losses = loss_of(name, found, present)
    assert torch.equal(losses, expected)
    losses.sum().backward()
    assert all(bool(found[n].grad.isfinite().all()) for n in ("audio", "text"))


@pytest.mark.parametrize("name", sorted(SETS))
def test_nobody_present_is_zeros_with_a_gradient_of_zero(name):
    found = embeddings(SETS[name][1])
    losses = loss_of(name, found, {n: torch.zeros(ROWS, dtype=torch.bool) for n in found})
    assert torch.equal(losses, torch.zeros_like(losses))
    losses.sum().backward()
    assert all(torch.equal(value.grad, torch.zeros_like(value)) for value in found.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["all-equal", "two-equal", "opposite", "zeros"])
@pytest.mark.parametrize("name", sorted(SETS))
def test_collapsed_and_collinear_embeddings_have_a_finite_gradient(name, kind, dtype):
    found = {n: value.detach().to(dtype) for n, value in embeddings(SETS[name][1]).items()}
    for n in found:
        if kind == "all-equal":
            found[n] = torch.ones(ROWS, DIM, dtype=dtype)
        elif kind == "zeros":
            found[n] = torch.zeros(ROWS, DIM, dtype=dtype)
        elif n != "text":
            found[n] = found["text"] if kind == "two-equal" or n == "audio" else -found["text"]
    found = {n: value.clone().requires_grad_() for n, value in found.items()}
    losses = loss_of(name, found, dict.fromkeys(found))
    losses.sum().backward()
    assert bool(losses.isfinite().all())
    for value in found.values():
        assert bool(value.grad.isfinite().all())
        # The root multiplies by 500 at most, the temperature by 14; a vector of zeros has no direction.
        assert kind == "zeros" or float(value.grad.abs().max()) < 1e5


def test_the_volume_learns_where_other_modalities_coincide():
    # Of four, two equal: the minors without one of them are singular, and their gradient is still the polynomial's.
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(3, DIM, generator=generator, dtype=torch.float64).requires_grad_()
    items = torch.randn(2, 3, DIM, generator=generator, dtype=torch.float64)
    items[:, 2] = items[:, 1]
    items.requires_grad_()
    assert torch.autograd.gradcheck(volumes, (x, items), atol=1e-4)


def test_the_volume_of_two_is_the_sine_of_their_angle():
    angles = torch.linspace(0.1, math.pi - 0.1, 11, dtype=torch.float64)
    x = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
    y = torch.stack([angles.cos(), angles.sin()], dim=1)[:, None] * 0.5
    # What is added under the root changes a sine of 0.1 by 5e-6.
    torch.testing.assert_close(volumes(x, y), angles.sin()[None], rtol=0, atol=6e-6)
    assert float(volumes(x, y[:1] * 0 + x)) == pytest.approx(1e-3)


def test_orthogonal_vectors_span_a_volume_of_one_and_an_area_of_the_equilateral_triangle():
    x, y, z, w = torch.eye(4)[:, None]
    assert float(volumes(x, torch.stack([y, z, w], dim=1))) == pytest.approx(1.0, abs=1e-6)
    assert float(triangle_areas(x, y, z)) == pytest.approx(math.sqrt(3) / 2, abs=1e-6)
    assert float(triangle_areas(x, x, z)) == pytest.approx(5e-4, rel=1e-3)


def test_the_score_of_a_triangle_is_the_cosine_with_the_first_less_the_area():
    found = embeddings(3)
    x, y, z = (value / value.norm(dim=1, keepdim=True) for value in found.values())
    scores = triangle_scores(found["audio"], found["text"][:3], found["video"][:3], alpha=0.7)
    for i in range(ROWS):
        for j in range(3):
            torch.testing.assert_close(scores[i, j], 0.7 * (x[i] @ y[j]) - slow_area(x[i], y[j], z[j]))
    areas = triangle_areas(found["audio"], found["text"], found["video"])
    torch.testing.assert_close(triangle_scores(*found.values(), alpha=0.0), -areas)


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that any operation makes."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            self.numbers = max(self.numbers, found.numel())
        return found


@pytest.mark.parametrize("name", ["triangle", "volume-4"])
def test_nothing_of_the_size_of_all_pairs_times_the_width_is_made(name):
    rows, dim = 31, 61
    generator = torch.Generator().manual_seed(0)
    found = {n: torch.randn(rows, dim, generator=generator).requires_grad_() for n in embeddings(SETS[name][1])}
    with Largest() as largest:
        loss_of(name, found, dict.fromkeys(found)).sum().backward()
    assert largest.numbers <= 3 * rows * max(rows, dim) < rows * rows * dim


@pytest.mark.parametrize("name", sorted(SETS))
def test_losses_are_float32_of_half_precision_and_under_autocast(name):
    found = {n: value.detach().float() for n, value in embeddings(SETS[name][1]).items()}
    everyone = dict.fromkeys(found)
    halves = {n: value.bfloat16() for n, value in found.items()}
    assert loss_of(name, halves, everyone).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = loss_of(name, found, everyone)
    assert autocast.dtype == torch.float32
    if name != "one_versus_fused":
        # An area or a volume is a small difference of large products: they stay what they are.
        assert torch.equal(autocast, loss_of(name, found, everyone))


@pytest.mark.parametrize("name", sorted(SETS))
def test_the_temperature_learns(name):
    found = {n: value.detach() for n, value in embeddings(SETS[name][1]).items()}
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: loss_of(name, found, dict.fromkeys(found), temperature=t), [temperature])
    with pytest.raises(ValueError, match=r"above 0; given: 0\.0"):
        loss_of(name, found, dict.fromkeys(found), temperature=0.0)


def test_without_smoothing_the_target_is_the_matching_one_alone():
    found = embeddings(3)
    for present in (dict.fromkeys(found), masks(found)):
        losses = triangle_contrast(found, present, anchor="text", label_smoothing=0.0, temperature=0.2)
        torch.testing.assert_close(losses.mean(), slow("triangle", found, present, 0.2, 0.0))


def test_one_against_the_fused_of_two_is_the_loss_of_both():
    found = embeddings(2)
    both = AUDIO & TEXT
    losses = one_versus_fused(found, {"audio": AUDIO, "text": TEXT}, temperature=0.2)
    torch.testing.assert_close(losses, info_nce(found["audio"], found["text"], temperature=0.2, present=both))


def test_others_that_cancel_have_no_direction():
    x = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(0))
    y = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(1))
    found = {"a": x.requires_grad_(), "b": y.requires_grad_(), "c": -y.detach()}
    first = one_versus_fused(found, {"a": None, "b": None, "c": None})
    # The term of a is that of cosines of 0: without gradient, and ln of the number of samples.
    rest = (info_nce(y, x - y / y.norm(dim=1, keepdim=True) * x.norm(dim=1, keepdim=True)),)
    rest += (info_nce(found["c"], x + y / y.norm(dim=1, keepdim=True) * x.norm(dim=1, keepdim=True)),)
    torch.testing.assert_close(first.mean(), (math.log(ROWS) + sum(rest).mean()) / 3)
    first.sum().backward()
    assert float(y.grad.abs().max()) < 1e3


def test_what_cannot_be_is_refused():
    found = embeddings(3)
    everyone = dict.fromkeys(found)
    one = {"text": found["text"]}
    with pytest.raises(ValueError, match="two modalities or more; given: text"):
        one_versus_fused(one, everyone)
    with pytest.raises(ValueError, match="two modalities or more; given: text"):
        volume_contrast(one, everyone, anchor="text")
    with pytest.raises(ValueError, match="three modalities; given: text"):
        triangle_contrast(one, everyone, anchor="text")
    with pytest.raises(ValueError, match="audio, text, video; given: 'flow'"):
        volume_contrast(found, everyone, anchor="flow")
    with pytest.raises(ValueError, match=r"in \[0, 1\); given: 1"):
        triangle_contrast(found, everyone, anchor="text", label_smoothing=1.0)
