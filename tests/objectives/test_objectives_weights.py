"""Penalties of weights against their definitions; gradients included."""

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from awase.objectives import diagonal_fisher, elastic_penalty, orthogonality

SHAPES = {"bias": (3,), "weight": (3, 5)}


def tensors(seed: int, shapes=SHAPES) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(shape, generator=generator, dtype=torch.float64) for n, shape in shapes.items()}


def test_the_elastic_penalty_is_half_the_weighted_squared_distance():
    own = {name: value.requires_grad_() for name, value in tensors(0).items()}
    free = torch.ones(2, requires_grad=True)
    anchors, fisher = tensors(1), {name: value.square().requires_grad_() for name, value in tensors(2).items()}
    found = elastic_penalty(own | {"free": free}, anchors, fisher, strength=0.7)
    slow = 0.0
    for name in own:
        values = (own[name].detach(), anchors[name], fisher[name].detach())
        for now, anchor, information in zip(*(value.flatten().tolist() for value in values), strict=True):
            slow += 0.35 * information * (now - anchor) ** 2
    assert float(found.detach()) == pytest.approx(slow, rel=1e-12)
    found.backward()
    for name, value in own.items():
        torch.testing.assert_close(value.grad, 0.7 * fisher[name].detach() * (value.detach() - anchors[name]))
        assert fisher[name].grad is None
    assert free.grad is None


def test_an_elastic_penalty_of_other_parameters_is_refused():
    own = tensors(0)
    for anchors, fisher in ((own, {"bias": own["bias"]}), (own | {"more": own["bias"]},) * 2, ({}, {})):
        with pytest.raises(ValueError, match="of the same parameters"):
            elastic_penalty(own, anchors, fisher, strength=1.0)


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_the_fisher_information_is_the_mean_of_the_squared_gradients_of_single_samples(chunk_size):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Tanh(), torch.nn.Linear(3, 4)).double()
    inputs = torch.randn(11, 5, dtype=torch.float64)
    labels = torch.arange(11) % 4

    def loss(parameters, sample):
        logits = functional_call(model, parameters, (sample["inputs"][None],))
        return F.cross_entropy(logits, sample["labels"][None])

    batches = [{"inputs": inputs[rows], "labels": labels[rows]} for rows in (slice(0, 7), slice(7, 10), slice(10, 11))]
    parameters = dict(model.named_parameters())
    found = diagonal_fisher(loss, parameters, batches, chunk_size=chunk_size)
    slow = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for row in range(11):
        model.zero_grad()
        F.cross_entropy(model(inputs[row : row + 1]), labels[row : row + 1]).backward()
        for name, value in parameters.items():
            slow[name] += value.grad**2 / 11
    assert set(found) == set(slow)
    for name, value in slow.items():
        torch.testing.assert_close(found[name], value)
        assert not found[name].requires_grad


def test_a_sample_without_a_modality_adds_nothing_and_is_counted():
    parameters = {"audio": torch.ones(3), "video": torch.ones(3, dtype=torch.bfloat16)}

    def loss(own, sample):
        return sample["here"] * (own["audio"] * sample["x"]).sum() + (own["video"].float() * sample["x"]).sum()

    x = torch.arange(6.0).view(2, 3)
    found = diagonal_fisher(loss, parameters, [{"x": x, "here": torch.tensor([1.0, 0.0])}])
    torch.testing.assert_close(found["audio"], x[0].square() / 2)
    torch.testing.assert_close(found["video"], x.square().mean(dim=0))
    assert found["video"].dtype == torch.float32
    with pytest.raises(ValueError, match="no process has one"):
        diagonal_fisher(loss, parameters, [])


def test_orthogonality_is_the_sum_of_all_products_of_old_and_new_directions():
    new = {name: value.requires_grad_() for name, value in tensors(0, {"q": (3, 5), "conv": (2, 3, 2, 2)}).items()}
    old = [tensors(1, {"q": (2, 5), "conv": (2, 3, 2, 2)}), tensors(2, {"q": (7, 5), "other": (3, 11)})]
    old[0]["q"].requires_grad_()
    found = orthogonality(new, old, strength=0.3)
    slow = 0.0
    for adapter, layer in ((old[0], "q"), (old[0], "conv"), (old[1], "q")):
        for before in adapter[layer]:
            slow = slow + sum((before.detach() * now).sum().abs() for now in new[layer])
    # The sum begins with a zero in float32, which a sum in float64 promotes.
    torch.testing.assert_close(found, 0.3 * slow)
    ours = torch.autograd.grad(found, [*new.values(), old[0]["q"]], allow_unused=True)
    for own, theirs in zip(ours[:2], torch.autograd.grad(0.3 * slow, list(new.values())), strict=True):
        torch.testing.assert_close(own, theirs)
    assert ours[2] is None


def test_orthogonal_adapters_and_the_first_one_cost_nothing():
    rows = torch.eye(5)
    assert float(orthogonality({"q": rows[:2]}, [{"q": rows[2:]}])) == 0
    assert float(orthogonality({"q": rows[:2]}, [{"q": rows[1:3]}])) == 0.5
    assert float(orthogonality({"q": rows[:2]}, [])) == 0
