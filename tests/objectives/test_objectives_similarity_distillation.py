"""Losses that keep what an old model knew, against their definitions; gradients included."""

import pytest
import torch

from awase.objectives import ckc, similarity_distillation

ROWS, DIM, OLD_DIM = 7, 5, 3
HERE = torch.tensor([True, True, False, True, True, False, True])
THERE = torch.tensor([True, False, False, True, True, True, True])


def rows(seed: int, dim: int = DIM, count: int = ROWS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64).requires_grad_()


def slow_softmaxes(x, y, temperature):
    """log softmax_row and log softmax_column of every pair, as lists."""
    count = len(x)
    score = [[(x[i] @ y[j]) / (x[i].norm() * y[j].norm()) / temperature for j in range(count)] for i in range(count)]
    of_rows = [[s - sum(t.exp() for t in line).log() for s in line] for line in score]
    columns = [sum(line[j].exp() for line in score).log() for j in range(count)]
    return of_rows, [[score[i][j] - columns[j] for j in range(count)] for i in range(count)]


def slow_distillation(x, y, old_x, old_y, temperature, softening):
    new, old = (slow_softmaxes(*pair, temperature * softening) for pair in ((x, y), (old_x.detach(), old_y.detach())))
    losses, count = [], len(x)
    for i in range(count):
        row = sum(old[0][i][j].exp() * (old[0][i][j] - new[0][i][j]) for j in range(count))
        column = sum(old[1][j][i].exp() * (old[1][j][i] - new[1][j][i]) for j in range(count))
        losses.append(softening**2 * (row + column) / 2)
    return torch.stack(losses)


@pytest.mark.parametrize("present", [None, HERE])
@pytest.mark.parametrize("count", [ROWS, 1])
@pytest.mark.parametrize(("temperature", "softening"), [(0.07, 2.0), (0.3, 1.0)])
def test_the_distillation_of_similarities_is_its_definition(present, count, temperature, softening):
    x, y, old_x, old_y = rows(0, DIM, count), rows(1, DIM, count), rows(2, OLD_DIM, count), rows(3, OLD_DIM, count)
    present = None if present is None else present[:count]
    here = torch.arange(count) if present is None else present.nonzero().squeeze(1)
    found = similarity_distillation(x, y, old_x, old_y, temperature=temperature, softening=softening, present=present)
    expected = slow_distillation(x[here], y[here], old_x[here], old_y[here], temperature, softening)
    torch.testing.assert_close(found[here] * len(here) / count, expected)
    torch.testing.assert_close(found.mean(), expected.mean())
    ours = torch.autograd.grad(found.mean(), (x, y, old_x, old_y), allow_unused=True)
    for own, slow in zip(ours[:2], torch.autograd.grad(expected.mean(), (x, y)), strict=True):
        torch.testing.assert_close(own, slow)
    assert ours[2:] == (None, None)


def test_absent_rows_neither_count_nor_matter():
    tensors = [rows(seed).detach() for seed in range(4)]
    expected = similarity_distillation(*tensors, present=HERE)
    for tensor in tensors:
        tensor[~HERE] = torch.nan
    x = tensors[0].requires_grad_()
    found = similarity_distillation(*tensors, present=HERE)
    assert torch.equal(found, expected)
    assert torch.equal(found[~HERE], torch.zeros_like(found[~HERE]))
    found.sum().backward()
    assert torch.equal(x.grad[~HERE], torch.zeros_like(x[~HERE]))
    assert bool((x.grad[HERE] != 0).any(dim=1).all())
    nobody = similarity_distillation(*tensors, present=torch.zeros(ROWS, dtype=torch.bool))
    assert torch.equal(nobody, torch.zeros_like(nobody))


def test_equal_similarities_cost_nothing_whatever_the_embeddings():
    x, y = rows(0), rows(1)
    turned = torch.linalg.qr(rows(2, DIM, DIM).detach()).Q
    found = similarity_distillation(x, y, 3 * x @ turned, y @ turned)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-12)
    gradients = torch.autograd.grad(found.sum(), (x, y))
    assert all(float(gradient.abs().max()) < 1e-12 for gradient in gradients)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_collapsed_model_has_a_finite_loss_and_gradient(value):
    x = torch.full((ROWS, DIM), value, requires_grad=True)
    found = similarity_distillation(x, x, rows(2).detach().float(), rows(3).detach().float())
    found.sum().backward()
    assert bool(found.isfinite().all())
    assert bool(x.grad.isfinite().all())
    assert found.dtype == torch.float32


def test_the_temperature_of_the_new_model_learns():
    x, y, old_x, old_y = (rows(seed).detach() for seed in range(4))
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    similarity_distillation(x, y, old_x, old_y, temperature=temperature).mean().backward()
    step = 1e-6
    # The old similarities keep their temperature, so the slow form changes that of the new ones alone.
    values = []
    for change in (step, -step):
        new = slow_softmaxes(x, y, 2 * (0.3 + change))
        old = slow_softmaxes(old_x, old_y, 2 * 0.3)
        kl = [
            o.exp() * (o - n)
            for p, q in zip(old, new, strict=True)
            for a, b in zip(p, q, strict=True)
            for o, n in zip(a, b, strict=True)
        ]
        values.append(4 * float(sum(kl)) / 2 / ROWS)
    # Central differences of a step of 1e-6.
    assert float(temperature.grad) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)
    with pytest.raises(ValueError, match=r"above 0; given: 0\.0"):
        similarity_distillation(x, y, old_x, old_y, temperature=0.0)
    with pytest.raises(ValueError, match=r"softening .* above 0; given: 0\.0"):
        similarity_distillation(x, y, old_x, old_y, softening=0.0)


def slow_ckc(new, old, present, temperature):
    """The mean over all rows that are there, of all modalities."""
    pairs = [(n, row) for n in new for row in range(ROWS) if present[n] is None or present[n][row]]

    def score(a, b):
        h, z = new[a[0]][a[1]], old[b[0]][b[1]].detach()
        return (h @ z) / (h.norm() * z.norm()) / temperature

    total = 0.0
    for own in pairs:
        line = sum(score(own, other).exp() for other in pairs).log()
        column = sum(score(other, own).exp() for other in pairs).log()
        total = total + (line + column) / 2 - score(own, own)
    return total / len(pairs)


@pytest.mark.parametrize("names", [("image", "text"), ("audio", "image", "text"), ("text",)])
@pytest.mark.parametrize("absent", [False, True])
def test_ckc_tells_every_row_of_every_modality_apart(names, absent):
    new = {name: rows(seed) for seed, name in enumerate(names)}
    old = {name: rows(9 + seed) for seed, name in enumerate(names)}
    present = dict.fromkeys(names) | ({"text": THERE, names[0]: HERE} if absent else {})
    found = ckc(new, old, present)
    expected = slow_ckc(new, old, present, 0.07)
    torch.testing.assert_close(found.mean(), expected)
    ours = torch.autograd.grad(found.mean(), [*new.values(), *old.values()], allow_unused=True)
    slow = torch.autograd.grad(expected, list(new.values()))
    for own, theirs in zip(ours[: len(names)], slow, strict=True):
        torch.testing.assert_close(own, theirs)
    assert ours[len(names) :] == (None,) * len(names)
    if absent and len(names) < 3:
        assert found[2].item() == 0


def test_ckc_does_not_read_absent_rows():
    new = {"image": rows(0).detach(), "text": rows(1).detach()}
    old = {"image": rows(2).detach(), "text": rows(3).detach()}
    present = {"image": None, "text": THERE}
    expected = ckc(new, old, present)
    new["text"][~THERE] = torch.nan
    old["text"][~THERE] = torch.nan
    new["text"].requires_grad_()
    found = ckc(new, old, present)
    assert torch.equal(found, expected)
    found.sum().backward()
    assert torch.equal(new["text"].grad[~THERE], torch.zeros_like(new["text"][~THERE]))
