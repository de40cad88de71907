"""The bank as a user sees it: names, keys, switching, merging, removing."""

import copy
import math

import pytest
import torch
from adapter_models import Everything, frozen, ids, randomise
from torch import nn

from awase.adapters import Bank, adapter_parameter_names
from awase.adapters.layers import is_adapted
from awase.config import AdapterConfig

ALL = AdapterConfig(targets="*", rank=3)


def _adapted(key: str = "default") -> tuple[nn.Module, Bank]:
    model = frozen()
    bank = Bank.inject(model, ALL, key=key, seed=0)
    randomise(bank.parameters(key))
    return model, bank


def _classes(model: nn.Module) -> list[type]:
    return [type(module) for module in model.modules()]


def test_an_adapted_encoder_gives_the_same_output_until_it_learns() -> None:
    model = frozen()
    expected = model(ids())
    Bank.inject(model, ALL, seed=0)
    assert torch.equal(model(ids()), expected)


def test_names_and_values_of_the_encoder_s_own_state_stay() -> None:
    model = frozen()
    before = copy.deepcopy(model.state_dict())
    parameters = {name: id(parameter) for name, parameter in model.named_parameters()}
    bank = Bank.inject(model, ALL, key="audio+text", seed=0)
    after = model.state_dict()
    adapters = adapter_parameter_names(model)
    assert set(after) - adapters == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {name: id(parameter) for name, parameter in model.named_parameters() if name in before} == parameters
    assert adapters == set(bank.parameters("audio+text"))
    assert {"blocks.1.attn.q.lora.audio+text.A", "blocks.1.attn.q.lora.audio+text.B"} <= adapters
    assert all(".lora." in f".{name}" for name in adapters)


def test_only_adapters_get_gradients_in_a_frozen_encoder() -> None:
    model, _ = _adapted()
    model(ids()).sum().backward()
    learned = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learned == adapter_parameter_names(model)


def test_everything_gets_gradients_where_the_encoder_learns_too() -> None:
    model, _ = _adapted()
    model.requires_grad_(True)(ids()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_matrices_depend_on_the_seed_alone() -> None:
    def matrices(seed: int) -> list[torch.Tensor]:
        return list(Bank.inject(frozen(), ALL, seed=seed).parameters("default").values())

    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = matrices(0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, first, matrices(0)))
    assert not all(map(torch.equal, first, matrices(1)))


def test_a_is_kaiming_uniform_and_b_is_zero() -> None:
    bank = Bank.inject(nn.Sequential(nn.Linear(101, 7)), AdapterConfig(targets="0", rank=53), seed=0)
    adapter = bank.adapters("default")["0"]
    bound = 1 / math.sqrt(101)
    assert adapter.A.abs().max() <= bound
    # The standard deviation of 5,353 uniform draws lies within 5 % of bound / sqrt(3) at six standard errors.
    assert adapter.A.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert torch.equal(adapter.B, torch.zeros(7, 53))


def test_alpha_sets_the_scale_and_is_the_rank_by_default() -> None:
    assert {a.scale for a in Bank.inject(frozen(), ALL, seed=0).adapters("default").values()} == {1.0}
    config = AdapterConfig(targets="*", rank=4, alpha=10)
    assert {a.scale for a in Bank.inject(frozen(), config, seed=0).adapters("default").values()} == {2.5}


def test_keys_act_one_at_a_time_and_none_is_the_base() -> None:
    model = frozen()
    base = model(ids())
    bank = Bank.inject(model, ALL, key="audio", seed=0)
    randomise(bank.parameters("audio"), 1)
    audio = model(ids())
    Bank.inject(model, AdapterConfig(targets="q,v", rank=2), key="type", seed=1)
    randomise(bank.parameters("type"), 2)
    other = model(ids())
    assert bank.keys() == ("audio", "type")
    assert bank.active_key == "type"
    assert bank.layer_names("type") == tuple(f"blocks.{i}.attn.{role}" for i in range(3) for role in "qv")
    assert len(bank.layer_names()) == 21
    assert not torch.equal(other, audio)
    bank.activate("audio")
    assert torch.equal(model(ids()), audio)
    bank.activate(None)
    assert torch.equal(model(ids()), base)
    bank.activate("type")
    assert torch.equal(model(ids()), other)


def test_disabled_gives_the_base_output_and_the_key_back_after_an_error() -> None:
    model = frozen()
    base = model(ids())
    bank = Bank.inject(model, ALL, seed=0)
    randomise(bank.parameters("default"))
    with bank.disabled():
        assert torch.equal(model(ids()), base)
    with pytest.raises(RuntimeError, match="stop"), bank.disabled():
        raise RuntimeError("stop")
    assert bank.active_key == "default"
    assert not torch.equal(model(ids()), base)


def test_merged_and_unmerged_agree_and_unmerging_restores_every_bit() -> None:
    model, bank = _adapted()
    before, output = copy.deepcopy(model.state_dict()), model(ids())
    bank.merge("default")
    assert not torch.equal(model.state_dict()["blocks.0.fc1.weight"], before["blocks.0.fc1.weight"])
    torch.testing.assert_close(model(ids()), output)
    bank.unmerge("default")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(ids()), output)


def test_while_merged_nothing_else_may_change() -> None:
    _, bank = _adapted()
    bank.merge("default")
    changes = {
        "merge": lambda: bank.merge("default"),
        "activate another": lambda: bank.activate(None),
        "remove an adapter": lambda: bank.remove("default"),
        "add an adapter": lambda: Bank.inject(bank.encoder, ALL, key="audio", seed=0),
    }
    for action, change in changes.items():
        with pytest.raises(ValueError, match=f"Cannot {action} while the adapter 'default' is merged"):
            change()
    bank.unmerge("default")
    with pytest.raises(ValueError, match="'default' is not merged; merged now: none"):
        bank.unmerge("default")


def test_removing_the_last_key_gives_the_original_encoder_back() -> None:
    model = frozen()
    base, classes, names = model(ids()), _classes(model), list(model.state_dict())
    bank = Bank.inject(model, ALL, key="audio", seed=0)
    Bank.inject(model, AdapterConfig(targets="q,v"), key="text", seed=0)
    randomise(bank.parameters("audio"))
    bank.remove("audio")
    assert bank.keys() == ("text",)
    assert sum(map(is_adapted, model.modules())) == 6
    bank.remove("text")
    assert _classes(model) == classes
    assert list(model.state_dict()) == names
    assert torch.equal(model(ids()), base)


def test_removing_the_active_key_leaves_the_base_output() -> None:
    model = frozen()
    base = model(ids())
    bank = Bank.inject(model, ALL, key="audio", seed=0)
    Bank.inject(model, ALL, key="text", seed=0)
    randomise(bank.parameters("text"))
    bank.remove("text")
    assert bank.active_key is None
    assert torch.equal(model(ids()), base)


def test_folding_leaves_a_plain_encoder_with_the_same_output() -> None:
    model, bank = _adapted()
    output, plain = model(ids()), frozen()
    bank.fold("default")
    assert _classes(model) == _classes(plain)
    assert list(model.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(model(ids()), output)


def test_the_mode_of_a_layer_reaches_its_adapters() -> None:
    model = frozen()
    bank = Bank.inject(model, AdapterConfig(targets="*", dropout=0.5), seed=0)
    assert not any(adapter.training for adapter in bank.adapters("default").values())
    model.train()
    assert all(adapter.training for adapter in bank.adapters("default").values())


def test_state_moves_through_state_dicts() -> None:
    model, _ = _adapted()
    other = frozen()
    Bank.inject(other, ALL, seed=9)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(ids()), model(ids()))


def test_unknown_and_unusable_keys_are_named() -> None:
    model, bank = _adapted("audio")
    with pytest.raises(KeyError, match=r"no adapter 'text'. It has: audio"):
        bank.activate("text")
    for key in ("audio", "a.b", ""):
        with pytest.raises(ValueError, match="cannot name a new adapter"):
            Bank.inject(model, ALL, key=key, seed=0)
    with pytest.raises(KeyError, match="It has: none"):
        Bank(Everything()).parameters("audio")
    assert Bank(Everything()).keys() == ()
    assert adapter_parameter_names(Everything()) == set()


def test_a_double_precision_encoder_gets_double_precision_adapters() -> None:
    model = frozen().double()
    bank = Bank.inject(model, ALL, seed=0)
    assert {p.dtype for p in bank.parameters("default").values()} == {torch.float64}
    assert model(ids()).dtype == torch.float64


def test_two_encoders_with_one_architecture_do_not_share_adapters() -> None:
    first, second = frozen(seed=1), frozen(seed=2)
    Bank.inject(first, ALL, seed=0)
    assert Bank(second).keys() == ()


def test_a_fingerprint_follows_every_bit_of_its_own_key_and_of_nothing_else() -> None:
    encoder = frozen()
    base = Bank(encoder).fingerprint()
    bank = Bank.inject(encoder, AdapterConfig(targets="*", rank=2), key="a", seed=0)
    Bank.inject(encoder, AdapterConfig(targets="*", rank=2), key="b", seed=1)
    first, second = bank.fingerprint("a"), bank.fingerprint("b")
    assert len({base, first, second}) == 3
    assert bank.fingerprint() == base, "adapters are not of the base"
    with torch.no_grad():
        next(iter(bank.parameters("b").values())).view(-1)[0] += 1e-3
    assert bank.fingerprint("a") == first
    assert bank.fingerprint("b") != second
    bank.merge("a")
    with pytest.raises(ValueError, match="fingerprint of the base while the adapter 'a' is merged"):
        bank.fingerprint()
    bank.unmerge("a")
    assert bank.fingerprint() == base
    with torch.no_grad():
        next(encoder.parameters()).view(-1)[0] += 1e-3
    assert bank.fingerprint() != base
