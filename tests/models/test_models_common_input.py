"""Heads under several keys of one input: the short way against every key switched on by itself, forward and back."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from awase.adapters import Bank
from awase.config import AdapterConfig
from awase.encoders import build_projection
from awase.encoders.gated import GatedUnit
from awase.models.common_input import gate_is_cheaper, project_common
from awase.models.keyed import project_keys

KEYS = ("a+b", "a+t", "a+b+t")
HEADS = ("linear", "gated", "gated_then_linear", "mlp", "normalised")


def head_of(name: str, *, in_dim: int = 17, dim: int = 13, rank: int = 2, learns: bool = False) -> nn.Module:
    """A head with adapters of different ranks and scales per key; float64, so that the order of sums does not count."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unit = GatedUnit(in_dim, dim, normalise=True) if name == "normalised" else None
        head = (unit or build_projection(name, in_dim, dim)).double().requires_grad_(learns)
        for seed, key in enumerate(KEYS):
            config = AdapterConfig(targets="*", rank=rank + seed % 2, alpha=3.0)
            for parameter in Bank.inject(head, config, key=key, seed=seed).parameters(key).values():
                nn.init.normal_(parameter, std=0.3)
    Bank(head).activate(None)
    return head


def one_by_one(head: nn.Module, x: Tensor, keys: Sequence[str]) -> Tensor:
    outputs = []
    for key in keys:
        Bank(head).activate(key)
        outputs.append(head(x))
        Bank(head).activate(None)
    return torch.stack(outputs)


def gradients(output: Tensor, x: Tensor, head: nn.Module) -> dict[str, Tensor]:
    weights = torch.randn(output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(2))
    (output * weights).sum().backward()
    found = {name: p.grad.clone() for name, p in head.named_parameters() if p.grad is not None}
    assert x.grad is not None
    found["x"] = x.grad.clone()
    x.grad = None
    head.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("rows", [3, 29])
@pytest.mark.parametrize("name", HEADS)
def test_every_head_as_each_key_by_itself(name: str, rows: int, learns: bool) -> None:
    """With 3 rows the gate takes the long way, with 29 the short one."""
    head = head_of(name, learns=learns)
    assert gate_is_cheaper(3, rows, 13, 3) == (rows == 29)
    x = torch.randn(rows, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    found, expected = project_common(head, x, KEYS), one_by_one(head, x, KEYS)
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    mine, theirs = gradients(found, x, head), gradients(expected, x, head)
    assert mine.keys() == theirs.keys()
    for part, value in theirs.items():
        torch.testing.assert_close(mine[part], value, rtol=1e-5, atol=1e-9)
    assert torch.equal(found, project_keys(head, x, KEYS))


def test_in_single_precision_the_numbers_stay() -> None:
    head = head_of("gated", in_dim=64, dim=96).float()
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(1))
    repeated = x.expand(3, -1, -1)
    torch.testing.assert_close(project_keys(head, x, KEYS), project_keys(head, repeated, KEYS), rtol=1e-5, atol=1e-6)
    found = project_keys(head, x, KEYS, execution="loop")
    assert torch.equal(found, project_keys(head, repeated, KEYS, execution="loop"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = project_keys(head, x, KEYS)
        assert half.dtype == torch.bfloat16
        torch.testing.assert_close(half, project_keys(head, repeated, KEYS), rtol=3e-2, atol=3e-2)


def test_the_base_does_not_depend_on_the_number_of_keys() -> None:
    """Operations as counted: once through each matrix, the ranks through the second, and the adapters."""
    head, rows, rank = head_of("gated", in_dim=64, dim=96).float(), 50, 3
    x = torch.randn(rows, 64)
    with FlopCounterMode(display=False) as counter:
        project_keys(head, x, KEYS)
    base = rows * 64 * 96 + rows * 96 * 96 + 3 * rank * 96 * 96
    adapters = 3 * rows * rank * (64 + 96 + 96 + 96 + 96)  # A1, B1, W2 B1, A2, B2
    assert counter.get_total_flops() == 2 * (base + adapters)


def test_adapters_that_drop_out_and_other_heads_go_the_long_way() -> None:
    head = nn.Linear(5, 7)
    Bank.inject(head, AdapterConfig(targets="*", rank=2, dropout=0.5), key="a+b", seed=0)
    assert project_common(head.train(), torch.randn(3, 5), ("a+b",)) is None
    assert project_common(head.eval(), torch.randn(3, 5), ("a+b",)) is not None
    assert project_common(nn.Linear(5, 7), torch.randn(3, 5), ("a+b",)) is None
    plain = project_keys(nn.Linear(5, 7), torch.randn(3, 5), ("a+b", "a+t"))
    torch.testing.assert_close(plain[0], plain[1])


def test_a_key_without_adapters_has_the_base_alone() -> None:
    head = head_of("gated")
    x = torch.randn(29, 17, dtype=torch.float64)
    found = project_common(head, x, ("a+b", "a+x"))
    assert found is not None
    torch.testing.assert_close(found[1], head(x), rtol=1e-6, atol=1e-9)
