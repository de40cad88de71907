"""Adapters of combinations from the method to the record: what learns, what stands still, what a task is asked in."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_spaces import (
    INPUTS,
    TRAINING,
    reading_rows,
    readings_data,
    small_encoders,
    space_experiment,
    train,
    write_rows,
)
from torch import nn
from watched_runs import stopped_and_repeated

from awase.adapters import Bank
from awase.config import AdapterConfig, CombinationsConfig, Experiment, MethodConfig, Runtime
from awase.distributed import ALONE
from awase.encoders.gated import GatedUnit
from awase.evaluation import directions
from awase.evaluation.directions import side
from awase.evaluation.ranks import exact_ranks
from awase.methods import build_method
from awase.methods.context import MethodContext
from awase.models.keyed import project_keys
from awase.objectives import info_nce, similarity_distillation, span_loss, triangle_area
from awase.runner.nodes import NodeRunner
from awase.runner.setting import open_setting
from awase.runner.space_files import read_embeddings
from awase.runner.space_scores import combination_losses, tether_losses

KEYS = ("a+b", "a+text", "b+text", "a+b+text")
SPACE: dict[str, Any] = {
    "space": {"dim": 13, "reconstruction": 7},
    "loss": "info_nce",
    "clustering": None,
    "reconstruction": {"weight": 1.0},
}
COMBINATION = {"place": "both", "adapter": {"rank": 2}}


def method_of(label: str | None = None, **settings: Any) -> MethodConfig:
    fields = {"retrieval": SPACE, "combination": COMBINATION, **settings}
    return MethodConfig(method="pair_adapters", label=label, settings=fields)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", reading_rows({"a": 5, "b": 4, "text": 7}))


def experiment_of(table: Path, *methods: MethodConfig, **changes: Any) -> Experiment:
    return space_experiment(readings_data(table), *methods, encoders=small_encoders(), **changes)


def runner_of(experiment: Experiment, cache: Path) -> NodeRunner:
    runtime = Runtime(cache=cache, device="cpu", threads=1)
    setting = open_setting(experiment, runtime, 0, None, ALONE)
    runner = NodeRunner(setting)
    method = experiment.methods[0]
    context = MethodContext(tuple(INPUTS), {}, TRAINING)
    runner.run(build_method(method.method, context, method.settings))
    return runner


def adapters_in(tensors: Mapping[str, torch.Tensor], key: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in tensors.items() if f".lora.{key}." in name}


def test_the_shared_space_stands_still_and_every_key_learns(table: Path, tmp_path: Path) -> None:
    runner = runner_of(experiment_of(table, method_of()), tmp_path / "cache")
    shared, keyed = runner.stages["joint"].tensors, runner.stages["combinations"].tensors
    assert all(torch.equal(value, keyed[name]) for name, value in shared.items())
    for key in KEYS:
        own = adapters_in(keyed, key)
        assert {name.split(".")[1] for name in own} == set(key.split("+"))
        assert {name.split(".")[0] for name in own} == {"encoders", "projections"}
        assert all(value.any() for name, value in own.items() if name.endswith(".B"))
    assert set(keyed) - set(shared) == {name for key in KEYS for name in adapters_in(keyed, key)}


def test_it_shares_the_stage_of_mcn(table: Path, tmp_path: Path) -> None:
    plain = MethodConfig(method="mcn", settings={"retrieval": SPACE})
    records = train(experiment_of(table, plain, method_of()), tmp_path / "runs", tmp_path / "cache")
    assert records[0].stages[0].hash == records[1].stages[0].hash


def test_a_task_is_scored_under_its_own_key_and_the_first_stage_in_the_shared_space(
    table: Path, tmp_path: Path
) -> None:
    (record,) = train(experiment_of(table, method_of()), tmp_path / "runs", tmp_path / "cache")
    folder = next((tmp_path / "runs").rglob("record.json")).parent
    found = read_embeddings(folder, "combinations", "test")
    assert set(found.keyed) == set(KEYS)
    shared = read_embeddings(folder, "joint", "test")
    for name, value in shared.embeddings.items():
        assert torch.equal(found.embeddings[name], value)
    by_stage = {
        stage: {n.direction: n.metrics for n in record.retrieval.numbers if n.stage == stage and n.split == "test"}
        for stage in ("joint", "combinations")
    }
    assert found.under(("b", "a")).embeddings["a"] is found.keyed["a+b"]["a"]
    for one in directions(tuple(INPUTS)):
        own = found.keyed["+".join(sorted(one.modalities))]
        mine = type(found)(found.ids, found.index, own, found.present)
        queries, asked = side(mine, (one.query,), cosine=True)
        gallery, there = side(mine, one.gallery, cosine=True)
        ranks = exact_ranks(queries, gallery, torch.arange(len(queries)), query_present=asked, gallery_present=there)
        first = float((ranks == 0).float().mean())
        assert by_stage["combinations"][str(one)]["R@1"] == pytest.approx(first)
    assert by_stage["joint"] != by_stage["combinations"]


def test_loop_and_batched_train_the_same_weights(table: Path, tmp_path: Path) -> None:
    found = []
    for execution in ("batched", "loop"):
        method = method_of(combination={**COMBINATION, "execution": execution})
        found.append(runner_of(experiment_of(table, method), tmp_path / execution).stages["combinations"].tensors)
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-3, atol=1e-4)  # float32, Adam, 6 steps


def test_keys_that_do_not_learn_stand_still_bit_for_bit_and_no_key_changes_another(table: Path, tmp_path: Path) -> None:
    whole = runner_of(experiment_of(table, method_of()), tmp_path / "cache").stages["combinations"].tensors
    few = method_of(combination={**COMBINATION, "learn": ["a+b"]})
    part = runner_of(experiment_of(table, few), tmp_path / "cache").stages["combinations"].tensors
    for name, value in adapters_in(whole, "a+b").items():
        torch.testing.assert_close(part[name], value, rtol=1e-3, atol=1e-4)  # in batches of other sizes
    for key in KEYS[1:]:
        assert all(not value.any() for name, value in adapters_in(part, key).items() if name.endswith(".B"))


def test_together_the_space_and_the_adapters_learn_in_one_stage(table: Path, tmp_path: Path) -> None:
    runner = runner_of(experiment_of(table, method_of(together=True)), tmp_path / "cache")
    (result,) = runner.stages.values()
    assert {part for part in result.facts["trained_parts"] if ".adapter." in part} == {
        f"{name}.adapter.{key}" for key in KEYS for name in key.split("+")
    }
    assert all(value.any() for key in KEYS for n, value in adapters_in(result.tensors, key).items() if n[-1] == "B")


def test_apart_the_shared_space_is_that_of_mcn_alone(table: Path, tmp_path: Path) -> None:
    """Training both at once, with losses of keys that end at the adapters, gives the shared space of `mcn` alone."""
    training = {"select": "last"}
    encoders = small_encoders()
    still = encoders["text"].model_copy(update={"options": {**encoders["text"].options, "dropout": 0.0}})
    method = method_of(together=True, combination={**COMBINATION, "gradient": "adapters"}, training=training)
    plain = MethodConfig(method="mcn", settings={"retrieval": SPACE, "training": training})
    both, alone = (
        runner_of(
            experiment_of(table, one).model_copy(update={"encoders": {**encoders, "text": still}}), tmp_path / "cache"
        )
        .stages["joint"]
        .tensors
        for one in (method, plain)
    )
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("of_set", ["triangle", "volume"])
def test_what_a_set_has_changes_the_weights_of_its_own_adapters_alone(table: Path, tmp_path: Path, of_set: str) -> None:
    fused, spanned = (
        runner_of(experiment_of(table, method_of(combination=fields)), tmp_path / "cache").stages["combinations"]
        for fields in (COMBINATION, {**COMBINATION, "of_set": of_set})
    )
    for name, value in fused.tensors.items():
        own = ".lora.a+b+text." in name
        assert torch.equal(value, spanned.tensors[name]) != own, name


def test_a_set_has_the_temperature_of_its_key_or_of_the_space() -> None:
    parts = {name: torch.randn(7, 5, generator=torch.Generator().manual_seed(n)) for n, name in enumerate(INPUTS)}
    key, nobody = "a+b+text", dict.fromkeys(INPUTS)
    for temperatures, expected in (({}, 0.3), ({key: 0.2}, 0.2)):
        config = CombinationsConfig(keys=(key,), of_set="triangle", temperatures=temperatures, weights={key: 2.0})
        found = combination_losses({key: parts}, nobody, info_nce, config, temperature=0.3)
        whole = span_loss(parts, nobody, partial(triangle_area, temperature=expected))
        torch.testing.assert_close(found[f"combination {key}"], 2 * whole)


def test_targets_of_a_key_change_the_weights_of_its_own_adapters_alone(table: Path, tmp_path: Path) -> None:
    named = {**SPACE, "targets": {"pairs": ["a+b+text"]}}
    plain, drawn = (
        runner_of(experiment_of(table, method_of(retrieval=space)), tmp_path / "cache").stages["combinations"]
        for space in (SPACE, named)
    )
    for name, value in plain.tensors.items():
        own = ".lora.a+b+text." in name
        assert torch.equal(value, drawn.tensors[name]) != own, name


def test_a_tether_changes_the_adapters_of_pairs_alone(table: Path, tmp_path: Path) -> None:
    free, held = (
        runner_of(experiment_of(table, method_of(combination=fields)), tmp_path / "cache").stages["combinations"]
        for fields in (COMBINATION, {**COMBINATION, "tether": 2.0})
    )
    for name, value in free.tensors.items():
        of_pair = any(f".lora.{key}." in name for key in KEYS[:3])
        assert torch.equal(value, held.tensors[name]) != of_pair, name


def heads_with_adapters(keys: tuple[str, ...]) -> nn.ModuleDict:
    """Projections with an adapter per key, of random weights so that each key's embeddings are its own."""
    heads = nn.ModuleDict({name: GatedUnit(5, 3) for name in INPUTS})
    for seed, key in enumerate(keys):
        for name in key.split("+"):
            Bank.inject(heads[name], AdapterConfig(targets="*", rank=2), key=key, seed=seed)
    for name, parameter in heads.named_parameters():
        if ".lora." in name:
            nn.init.normal_(parameter)
    for head in heads.values():
        Bank(head).activate(None)
    return heads


def test_the_gradient_of_a_tether_reaches_the_adapters_of_its_key_alone() -> None:
    keys, present = KEYS[:2], {"a": None, "b": torch.arange(7) != 3, "text": None}
    heads, temperature = heads_with_adapters(keys), torch.tensor(0.2, requires_grad=True)
    features = {name: torch.randn(7, 5, generator=torch.Generator().manual_seed(n)) for n, name in enumerate(INPUTS)}
    shared = {name: head(features[name]) for name, head in heads.items()}
    keyed: dict[str, dict[str, torch.Tensor]] = {key: {} for key in keys}
    for name, head in heads.items():
        own = [key for key in keys if name in key.split("+")]
        rows = features[name].expand(len(own), -1, -1)
        for key, embedding in zip(own, project_keys(head, rows, own, apart=True), strict=True):
            keyed[key][name] = embedding
    held, free = (CombinationsConfig(keys=keys, tether=weight) for weight in (2.0, 0.0))
    assert tether_losses(keyed, shared, present, free, temperature=temperature) == {}
    found = tether_losses(keyed, shared, present, held, temperature=temperature)
    assert list(found) == [f"tether {key}" for key in keys]
    expected = similarity_distillation(
        (keyed["a+b"]["a"], keyed["a+b"]["b"]), (shared["a"], shared["b"]), temperature=0.2, present=present["b"]
    )
    torch.testing.assert_close(found["tether a+b"], 2 * expected)
    assert not found["tether a+b"][3].any()
    found["tether a+b"].sum().backward()
    # In one pass of all keys another key's gradient is zeros.
    reached = {name for name, value in heads.named_parameters() if value.grad is not None and value.grad.any()}
    assert reached == {name for name, _ in heads.named_parameters() if ".lora.a+b." in name}
    assert temperature.grad is None


def test_wrong_combinations_are_refused() -> None:
    context = MethodContext(tuple(INPUTS), {}, TRAINING)
    with pytest.raises(ValueError, match="no combination a\\+video; valid names: a\\+b, a\\+text"):
        build_method("pair_adapters", context, {"keys": ["a+video"]})
    with pytest.raises(ValueError, match="no combination b\\+text; there are a\\+b"):
        CombinationsConfig(keys=("a+b",), learn=("b+text",))
    with pytest.raises(ValueError, match="sorted, like"):
        CombinationsConfig(keys=("b+a",))
    with pytest.raises(ValueError, match=r"mil_nce compares two modalities, and the combination a\+b\+text has more"):
        build_method("pair_adapters", context, {"retrieval": {"loss": "mil_nce"}})
    with pytest.raises(ValueError, match="leave `shared_training` empty"):
        build_method("pair_adapters", context, {"together": True, "shared_training": {"epochs": 3}})
    with pytest.raises(ValueError, match="has no temperature of its own"):
        build_method(
            "pair_adapters", context, {"retrieval": {"loss": "mms"}, "combination": {"temperatures": {"a+b": 0.1}}}
        )
    with pytest.raises(ValueError, match=r"three modalities; given: a\+b\+c\+d"):
        CombinationsConfig(keys=("a+b+c", "a+b+c+d"), of_set="triangle")
    with pytest.raises(ValueError, match="nothing is for of_set='volume'"):
        CombinationsConfig(keys=("a+b", "a+b+c"), learn=("a+b",), of_set="volume")
    with pytest.raises(ValueError, match="none of those learns"):
        CombinationsConfig(keys=("a+b", "a+b+c"), learn=("a+b+c",), tether=1.0)
    with pytest.raises(ValueError, match="tether is of softmaxes"):
        build_method("pair_adapters", context, {"retrieval": {"loss": "mms"}, "combination": {"tether": 1.0}})
    with pytest.raises(ValueError, match="at the temperature of the space"):
        build_method("pair_adapters", context, {"retrieval": {"loss": "mms"}, "combination": {"of_set": "volume"}})


@pytest.mark.parametrize("together", [False, True])
def test_what_was_interrupted_ends_with_the_same_bits(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    longer = TRAINING.model_copy(update={"epochs": 4})
    made = experiment_of(table, method_of(together=together), joint=longer)
    (whole,) = train(made, tmp_path / "whole", tmp_path / "a", checkpoint_every_s=0)
    (half,) = stopped_and_repeated(
        lambda: train(made, tmp_path / "half", tmp_path / "b", checkpoint_every_s=0), monkeypatch
    )
    expected, found = (
        load_file(tmp_path / cache / "stages" / record.stages[-1].hash / "model.safetensors")
        for record, cache in ((whole, "a"), (half, "b"))
    )
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert [n.metrics for n in whole.retrieval.numbers] == [n.metrics for n in half.retrieval.numbers]
