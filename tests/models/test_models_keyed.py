"""Embeddings under the adapters of combinations: against each key switched on by itself, one modality at a time."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from awase.adapters import Bank
from awase.config import AdapterConfig, EncoderConfig
from awase.encoders import build_encoder
from awase.encoders.gated import GatedUnit
from awase.fusion.rows import encode_rows, take_inputs
from awase.models import Retrieval
from awase.runner.known_below import _below as below_of
from awase.types import Batch, Below, Encoded

KEYS = ("a+b", "a+t", "b+t", "a+b+t")
DIM = 13


def transformer(seed: int) -> nn.Module:
    options = {"dim": 12, "depth": 3, "num_heads": 2, "vocabulary_size": 17}
    config = EncoderConfig(name="small_transformer", options=options)
    return build_encoder(config, kind="text", input_shape=(5,), seed=seed, allow_pickle=False)


def convolutions(seed: int) -> nn.Module:
    config = EncoderConfig(name="small_cnn", options={"width": 4})
    return build_encoder(config, kind="image", input_shape=(3, 16, 16), seed=seed, allow_pickle=False)


def model_of(place: str, *, execution: str = "batched", apart: bool = False, last_layers: int | None = 2) -> Retrieval:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoders = {"a": transformer(0), "b": convolutions(1), "t": transformer(2)}
        heads = {name: GatedUnit(int(encoder.dim), DIM) for name, encoder in encoders.items()}
        for seed, key in enumerate(KEYS):
            for name in key.split("+"):
                if place in ("encoder", "both"):
                    config = AdapterConfig(rank=2 + seed % 2, last_layers=last_layers if name != "b" else None)
                    Bank.inject(encoders[name], config, key=key, seed=seed)
                if place in ("head", "both"):
                    Bank.inject(heads[name], AdapterConfig(targets="*", rank=3), key=key, seed=seed)
        for module in (*encoders.values(), *heads.values()):
            Bank(module).activate(None)
        model = Retrieval(encoders, heads, {}, nn.Module(), KEYS, execution=execution, apart=apart)
        for name, parameter in model.named_parameters():
            if ".lora." in name:
                nn.init.normal_(parameter, std=0.3)
    return model.eval()


def batch_of(size: int = 7) -> Batch:
    generator = torch.Generator().manual_seed(1)
    words = {
        name: {
            "input_ids": torch.randint(1, 17, (size, 5), generator=generator),
            "attention_mask": torch.ones(size, 5, dtype=torch.int64),
        }
        for name in ("a", "t")
    }
    inputs = {**words, "b": torch.randn(size, 3, 16, 16, generator=generator)}
    present = {
        "a": torch.ones(size, dtype=torch.bool),
        "b": torch.arange(size) % 3 != 0,
        "t": torch.arange(size) % 2 == 0,
    }
    ids = tuple(str(row) for row in range(size))
    return Batch(ids, torch.arange(size), inputs, present, frozenset({"a"}))


def switched_on(model: Retrieval, batch: Batch, key: str, name: str) -> Tensor:
    """One modality under one key, with `activate` alone."""
    for module in (model.encoders[name], model.projections[name]):
        Bank(module).activate(key if key in set(Bank(module).keys()) else None)
    rows = None if name in batch.complete else batch.present[name]
    found: Tensor = model.projections[name](encode_rows(model.encoders[name], batch.inputs[name], rows).pooled)
    for module in (model.encoders[name], model.projections[name]):
        Bank(module).activate(None)
    return found


def gradients(model: nn.Module) -> dict[str, Tensor]:
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def total(keyed: dict[str, dict[str, Tensor]], batch: Batch) -> Tensor:
    weights = torch.linspace(0.1, 1, DIM)
    own = ((key, name, value) for key, values in keyed.items() for name, value in values.items())
    return sum((value[batch.present[name]] * weights).square().sum() * len(key) for key, name, value in own)


@pytest.mark.parametrize("execution", ["batched", "loop"])
@pytest.mark.parametrize("place", ["head", "encoder", "both"])
def test_every_combination_is_each_modality_with_its_key_switched_on(place: str, execution: str) -> None:
    model, batch = model_of(place, execution=execution), batch_of()
    output = model(batch)
    assert {key: set(values) for key, values in output.keyed.items()} == {key: set(key.split("+")) for key in KEYS}
    expected = {key: {name: switched_on(model, batch, key, name) for name in key.split("+")} for key in KEYS}
    for key in KEYS:
        for name in key.split("+"):
            rows = batch.present[name]
            torch.testing.assert_close(output.keyed[key][name][rows], expected[key][name][rows], rtol=1e-5, atol=1e-5)
    total(output.keyed, batch).backward()
    ours = gradients(model)
    total(expected, batch).backward()
    theirs = gradients(model)
    assert set(ours) == set(theirs)
    assert any(".lora." in name for name in ours)
    assert any(".lora." not in name for name in ours)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("place", ["head", "encoder", "both"])
def test_the_shared_space_is_bit_for_bit_that_without_adapters(place: str) -> None:
    model, batch = model_of(place), batch_of()
    found = model(batch).embeddings
    for name in model.modalities:
        for module in (model.encoders[name], model.projections[name]):
            for key in tuple(Bank(module).keys()):
                Bank(module).remove(key)
    plain = Retrieval(dict(model.encoders.items()), dict(model.projections.items()), {}, nn.Module())
    for name, value in plain(batch).embeddings.items():
        assert torch.equal(found[name][batch.present[name]], value[batch.present[name]])


@pytest.mark.parametrize("place", ["head", "encoder"])
def test_apart_the_losses_of_combinations_reach_adapters_alone(place: str) -> None:
    model, batch = model_of(place, apart=True), batch_of()
    output = model(batch)
    total(output.keyed, batch).backward()
    ours = gradients(model)
    assert ours
    assert all(".lora." in name for name in ours)
    joined = model_of(place)
    total(joined(batch).keyed, batch).backward()
    theirs = gradients(joined)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-4)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_part_below_the_first_adapter_runs_once() -> None:
    model, batch = model_of("encoder", last_layers=1), batch_of()
    encoder = model.encoders["a"]
    assert encoder.cut == 2
    seen: dict[str, list[int]] = {}
    for number in range(3):
        name = encoder.block_names[number]
        encoder.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.setdefault(name, []).append(len(inputs[0]))
        )
    model(batch)
    first, second, third = (seen[name] for name in encoder.block_names)
    assert (sum(first), sum(second), sum(third)) == (7, 7, 7 + 3 * 7)  # alone, and under the three keys of "a"


def test_training_batch_norms_count_the_shared_pass_alone() -> None:
    model, batch = model_of("encoder"), batch_of()
    model.train()
    model(batch)
    norms = [m for m in model.encoders["b"].modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert {int(norm.num_batches_tracked) for norm in norms} == {1}
    assert all(norm.training for norm in norms)


def test_a_modality_that_nobody_has_gives_zero_features_and_an_empty_batch_empty_ones() -> None:
    model, batch = model_of("encoder"), batch_of()
    absent = replace(batch, present={**batch.present, "b": torch.zeros(7, dtype=torch.bool)})
    output = model(absent)
    assert output.keyed["a+b"]["b"].shape == (7, DIM)
    total(output.keyed, absent).backward()
    assert all(not value.any() for name, value in gradients(model).items() if name.startswith("encoders.b."))


@pytest.mark.parametrize("place", ["head", "encoder", "both"])
def test_of_several_inputs_per_sample_each_is_encoded_under_its_key(place: str) -> None:
    model, batch, long = model_of(place), batch_of(), batch_of(21)
    mask = torch.arange(21).view(7, 3) % 4 != 1
    texts = {name: value.unflatten(0, (7, 3)) for name, value in long.inputs["t"].items()}
    texts["input_ids"][~mask] = 17  # beyond the vocabulary: an encoder that saw it would say so
    several = replace(
        batch,
        inputs={**batch.inputs, "t": texts},
        present={**batch.present, "t": mask.any(dim=1)},
        candidates={"t": mask},
    )
    output = model(several)
    alone = replace(long, present={**long.present, "t": mask.flatten()})
    for key in KEYS:
        if "t" not in key.split("+"):
            assert "t" not in output.keyed_candidates[key]
            continue
        expected = switched_on(model, alone, key, "t").unflatten(0, (7, 3))
        found = output.keyed_candidates[key]["t"]
        torch.testing.assert_close(found[mask], expected[mask], rtol=1e-5, atol=1e-5)
        firsts = expected[torch.arange(7), mask.int().argmax(dim=1)]
        torch.testing.assert_close(output.keyed[key]["t"], firsts, rtol=1e-5, atol=1e-5)
        (found[mask].square().sum()).backward(retain_graph=True)
        ours = gradients(model)
        (expected[mask].square().sum()).backward()
        for name, value in gradients(model).items():
            torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-4)
    shared = model(replace(long, present=alone.present)).embeddings["t"].unflatten(0, (7, 3))
    torch.testing.assert_close(output.candidates["t"][mask], shared[mask], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("place", ["encoder", "both"])
def test_from_what_lies_below_the_adapters_come_the_same_embeddings_and_gradients(place: str) -> None:
    """Samples in another order than they were kept in; forward to 1e-6, gradients to 1e-5 of their size."""
    model, batch = model_of(place), batch_of()
    kept = replace(
        batch, inputs={name: take_inputs(value, torch.arange(6, -1, -1)) for name, value in batch.inputs.items()}
    )
    kept = replace(kept, present={name: mask.flip(0) for name, mask in batch.present.items()})
    expected = model(batch)
    total(expected.keyed, batch).backward()
    theirs = gradients(model)
    with torch.no_grad():
        below = {name: below_of(model.encoders[name], name, kept) for name in model.adapted}
    known = {
        name: Below(take_inputs(one.hidden, torch.arange(6, -1, -1)), Encoded(one.shared.pooled.flip(0)))
        for name, one in below.items()
    }
    found = model(replace(batch, inputs={}), known=known)
    total(found.keyed, batch).backward()
    ours = gradients(model)
    adapters = [name for name in theirs if ".lora." in name]
    assert adapters
    for name in adapters:
        assert distance(ours[name], theirs[name]) < 1e-5, name
    for key, values in expected.keyed.items():
        for name, value in values.items():
            assert distance(found.keyed[key][name], value) < 1e-6, (key, name)


@pytest.mark.parametrize("execution", ["batched", "loop"])
@pytest.mark.parametrize("place", ["head", "encoder", "both"])
def test_bfloat16_rounds_no_worse_than_each_key_switched_on_in_bfloat16(place: str, execution: str) -> None:
    """Its steps are of 2^-8; weights, embeddings and gradients stay float32."""
    model, batch = model_of(place, execution=execution), batch_of()
    exact = model(batch).keyed
    total(exact, batch).backward()
    of_exact = gradients(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
        alone = {key: {name: switched_on(model, batch, key, name) for name in key.split("+")} for key in KEYS}
    assert any(value.pooled.dtype == torch.bfloat16 for value in output.encoded.values())
    assert all(value.dtype == torch.float32 for values in output.keyed.values() for value in values.values())
    total(output.keyed, batch).backward()
    ours = gradients(model)
    total({key: {name: value.float() for name, value in own.items()} for key, own in alone.items()}, batch).backward()
    theirs = gradients(model)
    for key in KEYS:
        adapters = [name for name in of_exact if f".lora.{key}." in name]
        assert all(ours[name].dtype == torch.float32 for name in adapters)
        found, plain, right = (
            torch.cat([one[name].flatten() for name in adapters]) for one in (ours, theirs, of_exact)
        )
        assert distance(found, right) < max(1.5 * distance(plain, right), 0.02)
        for name in key.split("+"):
            rows = batch.present[name]
            found, plain, right = (one[key][name][rows] for one in (output.keyed, alone, exact))
            assert distance(found, right) < max(1.5 * distance(plain, right), 0.01)


def distance(found: Tensor, expected: Tensor) -> float:
    """|found - expected| / |expected|, of all entries together."""
    return float((found.detach() - expected.detach()).norm() / expected.detach().norm())
