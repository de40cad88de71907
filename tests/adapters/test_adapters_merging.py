"""Merged keys against dense sums of products, and against the rule applied to dense cores entry by entry."""

import pytest
import torch
from adapter_models import frozen, ids, randomise
from torch import Tensor, nn

from awase.adapters import Bank, merged_adapters, merged_product
from awase.adapters.product import delta_weight
from awase.config import AdapterConfig


def products(sizes: tuple[int, ...] = (2, 3, 5), outputs: int = 13, inputs: int = 17) -> tuple[list[Tensor], ...]:
    generator = torch.Generator().manual_seed(4)
    high = [torch.randn(outputs, size, generator=generator) for size in sizes]
    return high, [torch.randn(size, inputs, generator=generator) for size in sizes]


def dense(high: list[Tensor], low: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    return sum(w * b.double() @ a.double() for w, b, a in zip(weights, high, low, strict=True))  # type: ignore[return-value]


WEIGHTS = (0.5, 1.0, -0.25)


@pytest.mark.parametrize(("outputs", "inputs"), [(13, 17), (7, 17), (13, 5)])
def test_the_sum_is_exact(outputs: int, inputs: int) -> None:
    """Also where the sum of the ranks, 10, is more than a side of the layer."""
    high, low = products(outputs=outputs, inputs=inputs)
    b, a = merged_product(high, low, WEIGHTS, rule="linear")
    torch.testing.assert_close(b @ a, dense(high, low, WEIGHTS), rtol=1e-10, atol=1e-10)
    assert b.shape[1] == min(10, outputs, inputs)


@pytest.mark.parametrize("rank", [1, 4, 12])
def test_a_cut_is_the_best_of_its_rank(rank: int) -> None:
    high, low = products()
    b, a = merged_product(high, low, WEIGHTS, rule="svd", rank=rank)
    u, s, vh = torch.linalg.svd(dense(high, low, WEIGHTS), full_matrices=False)
    torch.testing.assert_close(b @ a, (u[:, :rank] * s[:rank]) @ vh[:rank], rtol=1e-9, atol=1e-9)
    assert (b.shape[1], a.shape[0]) == (rank, rank)


def ties_slowly(cores: list[list[list[float]]], weights: tuple[float, ...], kept: float) -> Tensor:
    """TIES entry by entry: trim, elect a sign, mean of those that have it."""
    size = (len(cores[0]), len(cores[0][0]))
    count = max(1, round(kept * size[0] * size[1]))
    trimmed = []
    for core in cores:
        limit = sorted((abs(x) for row in core for x in row), reverse=True)[count - 1]
        trimmed.append([[x if abs(x) >= limit else 0.0 for x in row] for row in core])
    result = torch.zeros(size, dtype=torch.float64)
    for i in range(size[0]):
        for j in range(size[1]):
            votes = sum(w * core[i][j] for w, core in zip(weights, trimmed, strict=True))
            agreeing = [(w, c[i][j]) for w, c in zip(weights, trimmed, strict=True) if c[i][j] * votes > 0]
            if agreeing:
                result[i, j] = sum(w * x for w, x in agreeing) / sum(w for w, _ in agreeing)
    return result


def test_ties_against_its_definition_on_cores_made_without_our_bases() -> None:
    high, low = products()
    weights = (0.5, 1.0, 2.0)
    u = torch.linalg.svd(torch.cat(high, dim=1).double(), full_matrices=False).U
    v = torch.linalg.svd(torch.cat(low, dim=0).double(), full_matrices=False).Vh.T
    cores = [(u.T @ b.double() @ a.double() @ v).tolist() for b, a in zip(high, low, strict=True)]
    expected = u @ ties_slowly(cores, weights, 0.3) @ v.T
    b, a = merged_product(high, low, weights, rule="ties", kept=0.3)
    torch.testing.assert_close(b @ a, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rule", ["linear", "ties"])
def test_the_order_of_the_keys_does_not_matter(rule: str) -> None:
    high, low = products()
    weights = (0.5, 1.0, 2.0)
    b, a = merged_product(high, low, weights, rule=rule)
    other_b, other_a = merged_product(high[::-1], low[::-1], weights[::-1], rule=rule)
    torch.testing.assert_close(b @ a, other_b @ other_a, rtol=1e-9, atol=1e-9)


def test_one_key_alone_and_updates_of_zeros() -> None:
    high, low = products((3,))
    for rule in ("linear", "svd"):
        b, a = merged_product(high, low, (1.0,), rule=rule)
        torch.testing.assert_close(b @ a, dense(high, low, (1.0,)), rtol=1e-10, atol=1e-10)
    b, a = merged_product(high, low, (1.0,), rule="ties", kept=1.0)
    torch.testing.assert_close(b @ a, dense(high, low, (1.0,)), rtol=1e-10, atol=1e-10)
    zeros = [torch.zeros_like(one) for one in high]
    for rule in ("linear", "svd", "ties"):
        b, a = merged_product(zeros, low, (1.0,), rule=rule)
        assert not (b @ a).any()


def bank_of(ranks: dict[str, int]) -> Bank:
    model = frozen()
    for seed, (key, rank) in enumerate(ranks.items()):
        targets = "*" if key != "b+c" else ("words", "blocks.*", "grouped")
        bank = Bank.inject(model, AdapterConfig(targets=targets, rank=rank, alpha=1.5 * rank), key=key, seed=seed)
        randomise(bank.parameters(key), seed)
    return bank


def test_merged_adapters_of_every_kind_of_layer_sum_as_dense_updates() -> None:
    """Embedding, linear layers, convolutions, a grouped one; the second key lacks the layer `stem`."""
    weights = {"a+b": 0.75, "b+c": 0.5}
    bank = bank_of({"a+b": 2, "b+c": 3})
    merged = merged_adapters(bank, weights)
    assert set(merged) == set(bank.layer_names())
    for name, adapter in merged.items():
        layer = bank.encoder.get_submodule(name)
        own = {key: bank.adapters(key).get(name) for key in weights}
        expected = sum(weights[key] * delta_weight(layer, one) for key, one in own.items() if one is not None)
        torch.testing.assert_close(delta_weight(layer, adapter), expected, rtol=1e-4, atol=1e-5)
    bank.add("merged", merged)
    model, before = bank.encoder, {}
    for name in bank.layer_names():
        layer = model.get_submodule(name)
        own = [(weights[key], bank.adapters(key).get(name)) for key in weights]
        before[name] = sum(w * delta_weight(layer, one) for w, one in own if one is not None)
    found = model(ids())
    bank.activate(None)
    with torch.no_grad():
        for name, delta in before.items():
            model.get_submodule(name).get_parameter("weight").add_(delta)
    torch.testing.assert_close(found, model(ids()), rtol=1e-4, atol=1e-4)


def test_svd_has_the_largest_rank_of_the_keys_unless_another_is_given() -> None:
    bank = bank_of({"a+b": 2, "b+c": 3})
    weights = {"a+b": 1.0, "b+c": 1.0}
    ranks = {name: one.rank for name, one in merged_adapters(bank, weights, rule="svd").items()}
    assert ranks.pop("stem") == 2
    assert set(ranks.values()) == {3}
    assert {one.rank for one in merged_adapters(bank, weights, rule="ties", rank=4).values()} == {4}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"rule": "dare"}, "no rule 'dare'; valid names: linear, svd, ties"),
        ({"rank": 0}, "1 or more; given: 0"),
        ({"rule": "ties", "kept": 0.0}, r"in \(0, 1\]; given: 0.0"),
        ({"rule": "ties", "weights": {"a+b": -1.0, "b+c": 1.0}}, "Use the rule linear"),
    ],
)
def test_requests_that_cannot_be(changes: dict, match: str) -> None:
    bank = bank_of({"a+b": 2, "b+c": 3})
    given = {"weights": {"a+b": 1.0, "b+c": 1.0}, **changes}
    with pytest.raises(ValueError, match=match):
        merged_adapters(bank, **given)
    with pytest.raises(KeyError, match="no adapter 'c'"):
        merged_adapters(bank, {"c": 1.0})


def test_a_layer_s_own_parameters_are_not_touched() -> None:
    bank = bank_of({"a+b": 2, "b+c": 3})
    before = {name: value.clone() for name, value in bank.encoder.state_dict().items()}
    merged_adapters(bank, {"a+b": 1.0, "b+c": 1.0}, rule="ties")
    assert all(torch.equal(value, before[name]) for name, value in bank.encoder.state_dict().items())
    assert isinstance(bank.encoder, nn.Module)
