"""A key folded into a plain module: against the model under that key."""

from dataclasses import replace

import pytest
import torch
from test_models_keyed import KEYS, batch_of, model_of
from torch import nn

from awase.adapters import Bank
from awase.models import Retrieval, one_modality, plain
from awase.types import Batch

NAMES = ("input_ids", "attention_mask")


def whole_batch() -> Batch:
    """Rows that have every modality."""
    batch = batch_of()
    present = {name: torch.ones_like(value) for name, value in batch.present.items()}
    return replace(batch, present=present, complete=frozenset(batch.inputs))


def inputs_of(batch: Batch, name: str) -> tuple[tuple[torch.Tensor, ...], tuple[str, ...]]:
    given = batch.inputs[name]
    return ((given,), ()) if isinstance(given, torch.Tensor) else (tuple(given[n] for n in NAMES), NAMES)


@pytest.mark.parametrize("place", ["head", "encoder", "both"])
def test_a_folded_key_gives_what_the_model_gives_under_it(place: str) -> None:
    model, batch = model_of(place), whole_batch()
    with torch.no_grad():
        output = model(batch)
        for key in KEYS:
            for name in key.split("+"):
                inputs, names = inputs_of(batch, name)
                expected = output.keyed[key][name]
                found = plain(model, name, key, names)(*inputs)
                torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
                assert not torch.allclose(found, output.embeddings[name], rtol=1e-2, atol=1e-2)
        for name in "abt":
            inputs, names = inputs_of(batch, name)
            for key in (None, "shared"):
                assert torch.equal(plain(model, name, key, names)(*inputs), output.embeddings[name])


def test_nothing_of_the_bank_is_left_and_the_model_stays_as_it_was() -> None:
    model = model_of("both")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for key in ("a+t", "shared"):
        module = plain(model, "a", key)
        assert Bank(module).keys() == ()
        assert not any("lora" in name for name in module.state_dict())
        assert not any(type(part).__name__.startswith("Lora") for part in module.modules())
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert not module.training
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    own = {id(value) for value in model.parameters()}
    assert not any(id(value) in own for value in plain(model, "a", "a+t").parameters())


def test_adapters_that_are_zero_change_no_bit() -> None:
    model, batch = model_of("both"), whole_batch()
    for name, parameter in model.named_parameters():
        if ".lora." in name and name.endswith(".B"):
            nn.init.zeros_(parameter)
    with torch.no_grad():
        output = model(batch)
        for name in "abt":
            inputs, names = inputs_of(batch, name)
            key = next(key for key in KEYS if name in key)
            assert torch.equal(plain(model, name, key, names)(*inputs), output.embeddings[name])


def test_unknown_names_are_refused_with_those_there_are() -> None:
    model = model_of("head")
    with pytest.raises(ValueError, match=r"no adapters of 'b\+t'; it has shared, a\+b, a\+t, a\+b\+t"):
        plain(model, "a", "b+t")
    with pytest.raises(ValueError, match=r"no modality 'x'; the model has a, b, t"):
        plain(model, "x", "a+b")


def test_the_view_keeps_the_model_s_own_modules() -> None:
    model = model_of("both")
    whole = one_modality(model, "b")
    assert isinstance(model, Retrieval)
    assert whole.encoder is model.encoders["b"]
    assert whole.head is model.projections["b"]
    assert set(Bank(whole).keys()) == {"a+b", "b+t", "a+b+t"}
