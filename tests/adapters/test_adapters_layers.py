"""Every kind of layer against its definition: the output with the weight `W + scale B A`."""

import copy

import pytest
import torch
from adapter_models import frozen, ids, randomise
from torch import Tensor, nn
from torch.nn import functional as F

from awase.adapters import Bank
from awase.adapters.layers import is_adapted
from awase.config import AdapterConfig

CONFIG = AdapterConfig(targets=("*",), rank=3, alpha=2.0)
LAYERS = {
    "linear": (nn.Linear(11, 7), (5, 11)),
    "linear without bias": (nn.Linear(11, 7, bias=False), (2, 5, 11)),
    "conv1d": (nn.Conv1d(5, 7, 3, padding=1, stride=2), (2, 5, 17)),
    "conv2d": (nn.Conv2d(5, 7, (3, 2), padding="same", dilation=2), (2, 5, 11, 13)),
    "conv2d, padding reflected": (nn.Conv2d(5, 7, 3, padding=1, padding_mode="reflect"), (2, 5, 11, 13)),
    "conv3d": (nn.Conv3d(2, 3, 3, stride=(1, 2, 2), bias=False), (2, 2, 5, 7, 7)),
    "grouped conv2d": (nn.Conv2d(6, 10, 3, groups=2, padding=1), (2, 6, 7, 5)),
    "depthwise conv1d": (nn.Conv1d(5, 5, 3, groups=5, padding_mode="circular", padding=1), (2, 5, 17)),
}


def _case(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Sequential, Tensor]:
    layer, shape = LAYERS[name]
    generator = torch.Generator().manual_seed(5)
    layer = copy.deepcopy(layer).requires_grad_(False)
    return nn.Sequential(layer).to(dtype), torch.randn(shape, generator=generator).to(dtype)


def _slow_product(layer: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    """`B A` per group, entry by entry."""
    groups = getattr(layer, "groups", 1)
    rank, outputs = b.shape[1], b.shape[0]
    product = torch.zeros_like(layer.get_parameter("weight"))
    for output in range(outputs):
        group = output // (outputs // groups)
        for r in range(rank):
            product[output] += b[output, r].reshape(()) * a[group * rank + r]
    return product


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", LAYERS)
def test_output_before_the_first_step_is_the_base_output(name: str, dtype: torch.dtype) -> None:
    model, x = _case(name, dtype)
    expected = model(x)
    Bank.inject(model, CONFIG, seed=0)
    assert is_adapted(model[0])
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize("name", LAYERS)
def test_output_is_that_of_the_weight_plus_the_product(name: str) -> None:
    model, x = _case(name)
    plain = copy.deepcopy(model)
    bank = Bank.inject(model, CONFIG, seed=0)
    randomise(bank.parameters("default"))
    adapter = bank.adapters("default")["0"]
    with torch.no_grad():
        plain[0].weight += 2.0 / 3 * _slow_product(plain[0], adapter.A, adapter.B)
    torch.testing.assert_close(model(x), plain(x))
    bank.merge("default")
    torch.testing.assert_close(model(x), plain(x))


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_the_weight_plus_the_product(name: str, trainable: bool) -> None:
    model, x = _case(name)
    plain = copy.deepcopy(model)
    bank = Bank.inject(model, CONFIG, seed=0)
    randomise(bank.parameters("default"))
    layer, adapter = model[0], bank.adapters("default")["0"]
    layer.weight.requires_grad_(trainable)
    model(x).square().sum().backward()
    a, b = (matrix.detach().clone().requires_grad_() for matrix in (adapter.A, adapter.B))
    weight = plain[0].weight.requires_grad_(trainable)
    changed = weight + 2.0 / 3 * _slow_product(plain[0], a, b)
    output = torch.func.functional_call(plain, {"0.weight": changed}, (x,))
    output.square().sum().backward()
    assert adapter.A.grad is not None
    torch.testing.assert_close(adapter.A.grad, a.grad)
    torch.testing.assert_close(adapter.B.grad, b.grad)
    assert (layer.weight.grad is not None) == trainable
    if trainable:
        torch.testing.assert_close(layer.weight.grad, weight.grad)


def test_evaluation_does_not_depend_on_which_parameters_learn() -> None:
    model, x = _case("linear")
    bank = Bank.inject(model, CONFIG, seed=0)
    randomise(bank.parameters("default"))
    with torch.no_grad():
        before = model(x)
        model.requires_grad_(True)
        assert torch.equal(model(x), before)


def test_embedding_adds_the_product_of_its_rows() -> None:
    model = nn.Sequential(nn.Embedding(17, 7, padding_idx=2)).requires_grad_(False)
    tokens = ids()
    expected = model(tokens)
    bank = Bank.inject(model, CONFIG, seed=0)
    assert torch.equal(model(tokens), expected)
    randomise(bank.parameters("default"))
    adapter = bank.adapters("default")["0"]
    weight = model[0].weight + 2.0 / 3 * (adapter.B @ adapter.A).T
    torch.testing.assert_close(model(tokens), weight[tokens])
    model(tokens).sum().backward()
    assert adapter.A.grad is not None
    assert torch.equal(adapter.A.grad[:, 2], torch.zeros(3))
    assert adapter.A.grad[:, tokens.unique()[-1]].abs().min() > 0


@pytest.mark.parametrize("kind", [nn.Linear(64, 64), nn.Conv2d(64, 64, 1)])
def test_dropout_falls_on_the_adapter_in_training_alone(kind: nn.Module) -> None:
    model = nn.Sequential(copy.deepcopy(kind)).requires_grad_(False)
    shape = (5, 64) if isinstance(kind, nn.Linear) else (5, 64, 1, 1)
    x = torch.ones(shape)
    base = model(x)
    bank = Bank.inject(model, AdapterConfig(targets="*", rank=2, dropout=0.5), seed=0)
    randomise(bank.parameters("default"))
    torch.manual_seed(0)
    train = model.train()(x)
    full = model.eval()(x)
    assert torch.equal(full, model(x))
    assert not torch.equal(train[0], train[1])  # equal samples, different zeros
    adapter = bank.adapters("default")["0"]
    torch.manual_seed(0)
    hidden = F.dropout(x, 0.5).reshape(5, 64) @ adapter.A.reshape(2, 64).T
    torch.testing.assert_close(train, base + (hidden @ adapter.B.reshape(64, 2).T).reshape(shape))


def test_autocast_reaches_every_layer() -> None:
    for name in ("linear", "conv2d", "grouped conv2d"):
        model, x = _case(name, torch.float32)
        bank = Bank.inject(model, CONFIG, seed=0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with bank.disabled():
                base = model(x)
            assert torch.equal(model(x), base)
            output = model(x)
        output.float().sum().backward()
        assert output.dtype == torch.bfloat16
        assert {p.dtype for p in bank.parameters("default").values()} == {torch.float32}


class _OwnForward(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


@pytest.mark.parametrize(
    "layer",
    [
        _OwnForward(3, 5),
        torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 5, 2)),
        nn.Embedding(7, 3, max_norm=1.0),
    ],
)
def test_a_layer_that_computes_in_its_own_way_is_refused_and_nothing_changes(layer: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(5, 3), layer)
    with pytest.raises(ValueError, match=r"Layer 1: .*cannot take an adapter"):
        Bank.inject(model, AdapterConfig(targets="?"), seed=0)
    assert type(model[0]) is nn.Linear


def test_a_copy_has_adapters_of_its_own() -> None:
    model = frozen()
    bank = Bank.inject(model, CONFIG, seed=0)
    other = copy.deepcopy(model)
    randomise(Bank(other).parameters("default"))
    assert not torch.equal(model(ids()), other(ids()))
    with bank.disabled():
        assert Bank(other).active_key == "default"
