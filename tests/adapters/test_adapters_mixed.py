"""Rows with different adapters in one batch, against every row by itself with its own adapter switched on."""

import copy

import pytest
import torch
from adapter_models import Everything, frozen, ids, randomise
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from awase.adapters import Bank
from awase.adapters.frozen_mixed import frozen_mixed
from awase.config import AdapterConfig
from awase.encoders.gated import GatedUnit

KEYS = ("audio+text", "text", None, "late")
CONFIGS = {
    "audio+text": AdapterConfig(targets="*", rank=3, alpha=5),
    "text": AdapterConfig(targets="*", rank=2),
    "late": AdapterConfig(targets=("blocks.2.*", "grouped"), rank=5),
}
INDEX = torch.tensor([0, 3, 2, 1, 1, 0, 2])


def bank_of(model: nn.Module, configs: dict[str, AdapterConfig] = CONFIGS) -> Bank:
    for seed, (key, config) in enumerate(configs.items()):
        bank = Bank.inject(model, config, key=key, seed=seed)
        randomise(bank.parameters(key), seed)
    return bank


def row_by_row(model: nn.Module, bank: Bank, inputs: Tensor, keys: list[str | None]) -> Tensor:
    parts = []
    for row, key in zip(inputs, keys, strict=True):
        bank.activate(key)
        parts.append(model(row[None]))
    return torch.cat(parts)


def gradients(model: nn.Module) -> dict[str, Tensor | None]:
    found = {name: value.grad for name, value in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    return found


def assert_same_gradients(ours: dict[str, Tensor | None], theirs: dict[str, Tensor | None]) -> None:
    assert {name for name, value in ours.items() if value is not None} == {
        name for name, value in theirs.items() if value is not None
    }
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name])


class Vectors(nn.Module):
    """One vector per row, as in the heads of features."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(7, 13), nn.Linear(13, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.second(torch.sigmoid(self.first(x)))
        return output


VECTORS = {key: AdapterConfig(targets="*", rank=rank) for key, rank in (("audio+text", 3), ("text", 2))} | {
    "late": AdapterConfig(targets="second", rank=4)
}


def setting(kind: str) -> tuple[nn.Module, Bank, Tensor]:
    if kind == "vectors":
        model = frozen(Vectors).double()
        inputs = torch.randn(7, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        return model, bank_of(model, VECTORS), inputs
    model = frozen(Everything).double()
    return model, bank_of(model), ids(7)


@pytest.mark.parametrize("learning", [False, True])
@pytest.mark.parametrize("kind", ["vectors", "everything"])
def test_a_mixed_batch_is_every_row_with_its_own_adapter(kind: str, learning: bool) -> None:
    model, bank, inputs = setting(kind)
    if learning:
        model.requires_grad_(True)
    expected = row_by_row(model, bank, inputs, [KEYS[place] for place in INDEX.tolist()])
    expected.square().sum().backward()
    theirs = gradients(model)
    with bank.mixed(KEYS, INDEX):
        found = model(inputs)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    assert_same_gradients(gradients(model), theirs)


@pytest.mark.parametrize("kind", ["vectors", "everything"])
def test_equal_blocks_are_the_same_inputs_with_each_adapter(kind: str) -> None:
    model, bank, inputs = setting(kind)
    expected = []
    for key in KEYS:
        bank.activate(key)
        expected.append(model(inputs))
    torch.cat(expected).square().sum().backward()
    theirs = gradients(model)
    with bank.mixed(KEYS):
        found = model(inputs.repeat(4, *[1] * (inputs.dim() - 1)))
    torch.testing.assert_close(found, torch.cat(expected))
    found.square().sum().backward()
    assert_same_gradients(gradients(model), theirs)


@pytest.mark.parametrize("kind", ["vectors", "everything"])
@pytest.mark.parametrize("index", [None, torch.tensor([0, 1, 0, 1, 0, 1])])
def test_new_adapters_and_the_base_give_the_base_output_bit_for_bit(kind: str, index: Tensor | None) -> None:
    model, _, inputs = setting(kind)
    model, inputs = frozen(type(model)), inputs if kind == "everything" else inputs.float()
    expected = model(inputs[:6])
    bank = Bank.inject(model, AdapterConfig(targets="blocks.*.fc1" if kind == "everything" else "*"), key="k", seed=0)
    with bank.mixed(("k", None), index):
        assert torch.equal(model(inputs[:6]), expected)


def test_a_key_outside_the_batch_has_no_gradient_and_a_frozen_one_does_not_move() -> None:
    model, bank, inputs = setting("everything")
    for parameter in bank.parameters("text").values():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in bank.parameters("text").items()}
    learning = [value for value in model.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=0.1, weight_decay=0.5)
    absent = {name: value.detach().clone() for name, value in bank.parameters("late").items()}
    for _ in range(2):
        with bank.mixed(("audio+text", "text", None), torch.tensor([0, 1, 2, 1, 0, 0, 2])):
            model(inputs).square().sum().backward()
        assert all(value.grad is None for key in ("text", "late") for value in bank.parameters(key).values())
        assert all(value.grad is not None for value in bank.parameters("audio+text").values())
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    assert all(torch.equal(value, before[name]) for name, value in bank.parameters("text").items())
    assert all(torch.equal(value, absent[name]) for name, value in bank.parameters("late").items())


def test_the_gradient_of_one_key_s_loss_is_exactly_zero_in_another_key() -> None:
    model, bank, inputs = setting("everything")
    with bank.mixed(("audio+text", "text"), torch.tensor([0, 1, 0, 1, 0, 1, 0])):
        model(inputs)[::2].square().sum().backward()
    assert all(not value.grad.any() for value in bank.parameters("text").values())
    assert all(value.grad.any() for value in bank.parameters("audio+text").values())


def test_several_rows_per_sample_follow_one_another() -> None:
    model, bank, inputs = setting("vectors")
    frames = torch.stack([inputs, inputs + 1], dim=1)  # (samples, frames, 7)
    with bank.mixed(KEYS, INDEX):
        found = model(frames.flatten(0, 1)).unflatten(0, (7, 2))
    for frame in range(2):
        expected = row_by_row(model, bank, frames[:, frame], [KEYS[place] for place in INDEX.tolist()])
        torch.testing.assert_close(found[:, frame], expected)


def test_the_work_on_tokens_does_not_grow_with_the_number_of_keys() -> None:
    counts = []
    for number in (1, 16):
        model = frozen(lambda: nn.Sequential(nn.Linear(17, 19), nn.ReLU(), nn.Linear(19, 17)))
        bank = bank_of(model, {f"k{key}": AdapterConfig(targets="*", rank=3) for key in range(number)})
        tokens = torch.randn(16, 5, 17, requires_grad=True)
        index = torch.arange(16) % number
        with FlopCounterMode(display=False) as counter, bank.mixed([f"k{key}" for key in range(number)], index):
            model(tokens).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_the_mode_before_comes_back_also_after_an_error() -> None:
    model, bank, inputs = setting("vectors")
    bank.activate("text")
    expected = model(inputs)
    with bank.mixed(("audio+text", None), INDEX.clamp(max=1)):
        assert not torch.equal(model(inputs), expected)
    with pytest.raises(RuntimeError), bank.mixed(("audio+text", None), INDEX.clamp(max=1)):
        model(inputs[:, :1])
    assert torch.equal(model(inputs), expected)
    assert bank.active_key == "text"


def test_a_bank_made_before_the_adapters_knows_them_and_copies_switch_by_themselves() -> None:
    model = frozen(Vectors)
    early = Bank(model)
    bank_of(model, VECTORS)
    assert early.keys() == tuple(VECTORS)
    early.activate("text")
    twin = copy.deepcopy(model)
    Bank(twin).activate(None)
    assert (Bank(model).active_key, Bank(twin).active_key) == ("text", None)
    early.remove("late")
    assert (Bank(model).keys(), Bank(twin).keys()) == (("audio+text", "text"), tuple(VECTORS))
    early.fold("text")
    assert (early.keys(), early.active_key) == ((), None)


def test_dropout_acts_on_the_adapters_alone() -> None:
    model = frozen(Vectors)
    inputs = torch.ones(6, 7)
    expected = model(inputs)
    bank = bank_of(model, {key: AdapterConfig(targets="*", rank=2, dropout=0.5) for key in ("a", "b")})
    model.train()
    with bank.mixed(("a", "b", None), torch.tensor([0, 1, 2, 0, 1, 2])):
        first, second = model(inputs), model(inputs)
    assert torch.equal(first[2::3], expected[2::3])
    assert not torch.equal(first[:2], second[:2])


def test_what_cannot_be_mixed_is_refused() -> None:
    model, bank, inputs = setting("vectors")
    with pytest.raises(KeyError, match="no adapter 'video'"), bank.mixed(("video",)):
        pass
    with pytest.raises(ValueError, match="Every row needs one of the 2 keys"), bank.mixed(("text", None), INDEX):
        pass
    with pytest.raises(ValueError, match="Every row needs one of the 0 keys"), bank.mixed(()):
        pass
    with pytest.raises(ValueError, match="7 rows cannot be shared out to 2 keys"), bank.mixed(("text", None)):
        model(inputs)
    uneven = bank.mixed(("text", None), torch.tensor([0, 1, 1]))
    with pytest.raises(ValueError, match="7 rows cannot be shared out to 3 samples"), uneven:
        model(inputs)
    Bank.inject(model, AdapterConfig(targets="*", dropout=0.1), key="dropped", seed=0)
    model.train()
    with pytest.raises(ValueError, match="share their dropout"), bank.mixed(("text", "dropped")):
        model(inputs[:6])
    bank.merge("text")
    with (
        pytest.raises(ValueError, match="Cannot mix several while the adapter 'text' is merged"),
        bank.mixed(("text",)),
    ):
        pass


@pytest.mark.parametrize("with_bias", [True, False])
def test_gradients_of_the_fused_function_pass_gradcheck(with_bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    weight, bias = random(7, 13), random(7) if with_bias else None
    x, a, b = (random(*shape).requires_grad_() for shape in ((5, 2, 13), (5, 3, 13), (5, 7, 3)))
    assert torch.autograd.gradcheck(lambda x, a, b: frozen_mixed(x, weight, bias, a, b), (x, a, b))
    expected = torch.stack([x[g] @ weight.T + (0 if bias is None else bias) + x[g] @ a[g].T @ b[g].T for g in range(5)])
    torch.testing.assert_close(frozen_mixed(x, weight, bias, a, b), expected)


def test_under_autocast_the_product_is_bfloat16_and_the_gradients_are_not() -> None:
    model = frozen(lambda: nn.Sequential(nn.Linear(17, 19), nn.Linear(19, 17)))
    bank = bank_of(model, {key: AdapterConfig(targets="*", rank=3) for key in ("a", "b")})
    tokens = torch.randn(4, 5, 17, generator=torch.Generator().manual_seed(0))
    with bank.mixed(("a", "b", None), torch.tensor([0, 1, 2, 1])):
        expected = model(tokens)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model(tokens)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.15)  # 8 bits of mantissa, two layers
    found.float().sum().backward()
    assert all(value.grad.dtype == torch.float32 for key in ("a", "b") for value in bank.parameters(key).values())


@pytest.mark.parametrize("rows", [3, 300])
def test_a_gated_unit_of_large_products_takes_adapters_and_keeps_its_bits(rows: int) -> None:
    model = frozen(lambda: GatedUnit(640, 700))
    x = torch.randn(rows, 640, generator=torch.Generator().manual_seed(0))
    expected = model(x)
    bank = Bank.inject(model, AdapterConfig(targets="*", rank=3), key="k", seed=0)
    assert torch.equal(model(x), expected)
    with bank.mixed(("k", None), torch.arange(rows) % 2):
        assert torch.equal(model(x), expected)
    randomise(bank.parameters("k"))
    hidden = x @ (model.fc.weight + bank.adapters("k")["fc"].B @ bank.adapters("k")["fc"].A).T + model.fc.bias
    gate = hidden @ (model.gate.weight + bank.adapters("k")["gate"].B @ bank.adapters("k")["gate"].A).T
    found = model(x)
    torch.testing.assert_close(found, hidden * torch.sigmoid(gate + model.gate.bias), rtol=1e-3, atol=1e-3)
    with bank.mixed(("k", None), torch.arange(rows) % 2):
        mixed = model(x)
    torch.testing.assert_close(mixed[::2], found[::2], rtol=1e-3, atol=1e-3)  # gates of large numbers, float32
    torch.testing.assert_close(mixed[1::2], expected[1::2])
