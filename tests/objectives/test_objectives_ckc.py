"""The consolidation of an old model's embeddings against its definition; gradients included."""

import pytest
import torch

from awase.objectives import ckc

ROWS, DIM = 7, 5
HERE = torch.tensor([True, True, False, True, True, False, True])
THERE = torch.tensor([True, False, False, True, True, True, True])


def rows(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64).requires_grad_()


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
