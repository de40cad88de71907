"""Whole staged runs under every policy: a is added to b and text, and what the policy promises is looked for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_spaces import (
    INPUTS,
    TRAINING,
    clips,
    reading_rows,
    readings_data,
    small_encoders,
    space_experiment,
    train,
    write_rows,
)
from watched_runs import stopped_and_repeated

from awase.config import Experiment, MethodConfig, Runtime
from awase.distributed import ALONE
from awase.evaluation import Embedded
from awase.methods import build_method
from awase.methods.context import MethodContext
from awase.objectives import info_nce
from awase.runner.build import build_retrieval
from awase.runner.known import of_stage
from awase.runner.nodes import NodeRunner, load_tensors
from awase.runner.setting import open_setting
from awase.runner.space_kept import old_batches
from awase.runner.space_null import null_space
from awase.runner.space_replay import Replayed, replayed, reservoir, with_replayed
from awase.runner.space_scores import embed_split
from awase.runner.work import train_loader

SPACE: dict[str, Any] = {
    "space": {"dim": 13, "reconstruction": 7, "projection": "linear"},
    "loss": "info_nce",
    "clustering": {"num_clusters": 3, "queue_rows": 19, "refit_every": 2},
}
EVERY: dict[str, list[dict[str, Any]]] = {
    "naive": [],
    "freeze": [{"name": "freeze"}],
    "features": [{"name": "feature_distillation"}],
    "similarities": [{"name": "similarity_distillation"}],
    "ckc": [{"name": "ckc"}],
    "replay": [{"name": "replay", "share": 0.3}],
    "replay+similarities": [{"name": "replay", "share": 0.3}, {"name": "similarity_distillation"}],
    "ewc": [{"name": "ewc", "samples": 20}],
    "dns": [{"name": "dns", "threshold": 0.05}],
    "low-rank": [{"name": "low_rank", "rank": 2, "targets": "all-linear"}],
    "o-lora": [{"name": "low_rank", "rank": 2, "targets": "all-linear", "weight": 1.0}],
    "inflora": [{"name": "low_rank", "rank": 2, "targets": "all-linear", "directions": "inflora", "energy": 0.5}],
    "keeplora": [{"name": "low_rank", "rank": 2, "targets": "all-linear", "directions": "keeplora", "energy": 0.5}],
    "osrm": [{"name": "low_rank", "rank": 2, "targets": "all-linear", "directions": "osrm"}],
    "bank": [{"name": "bank", "whole": True, "combination": {"place": "both", "adapter": {"rank": 2, "targets": "*"}}}],
    "bank-after": [{"name": "bank", "after": True, "combination": {"adapter": {"rank": 2}}}],
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", reading_rows({"a": 5, "b": 4, "text": 7}))


def method_of(policy: list[dict[str, Any]], label: str | None = None) -> MethodConfig:
    """Linear heads, which `dns` needs."""
    staged = {"first": ["b", "text"], "policy": policy}
    return MethodConfig(method="mcn", label=label, settings={"retrieval": SPACE, "staged": staged})


def experiment_of(table: Path, *methods: MethodConfig, **changes: Any) -> Experiment:
    longer = TRAINING.model_copy(update={"epochs": 4})
    return space_experiment(
        readings_data(table), *methods, **{"encoders": small_encoders(), "joint": longer, **changes}
    )


def runner_of(experiment: Experiment, cache: Path) -> NodeRunner:
    runner = NodeRunner(open_setting(experiment, Runtime(cache=cache, device="cpu", threads=1), 0, None, ALONE))
    method = experiment.methods[0]
    runner.run(build_method(method.method, MethodContext(tuple(INPUTS), {}, experiment.joint), method.settings))
    return runner


def embedded(runner: NodeRunner, stage: str) -> Embedded:
    return embed_split(runner.space(runner.stages[stage]), "test", runner.setting)


@pytest.mark.parametrize("name", [name for name in EVERY if "bank" in name or name == "freeze"])
def test_old_tasks_are_answered_bit_for_bit_as_after_the_first_stage(table: Path, tmp_path: Path, name: str) -> None:
    runner = runner_of(experiment_of(table, method_of(EVERY[name])), tmp_path / "cache")
    first, last = next(iter(runner.stages)), list(runner.stages)[-1]
    before, after = embedded(runner, first), embedded(runner, last).under(("b", "text"))
    for modality in ("b", "text"):
        assert torch.equal(before.embeddings[modality], after.embeddings[modality])
    old, new = runner.stages[first].tensors, runner.stages[last].tensors
    assert all(torch.equal(value, new[key]) for key, value in old.items() if not key.startswith("objective"))
    if "bank" not in name:
        return
    keys = {key.split(".lora.")[1].rpartition(".")[0] for key in new if ".lora." in key}
    assert keys == {"a+b", "a+text", *(["a+b+text"] if name == "bank" else [])}
    assert all(value.any() for key, value in new.items() if key.endswith(".B"))
    assert not torch.equal(embedded(runner, last).under(("a", "b")).embeddings["b"], before.embeddings["b"])


def test_a_bank_over_towers_with_batch_norms_leaves_their_statistics(tmp_path: Path) -> None:
    """Video and audio of generated clips have convolutions with batch norms; adapters sit in encoders and heads."""
    bank = {"name": "bank", "combination": {"place": "both", "adapter": {"rank": 2, "targets": "*"}}}
    space = {**SPACE, "clustering": None}
    settings = {"retrieval": space, "staged": {"first": ["video", "audio"], "policy": [bank]}}
    made = space_experiment(clips(), MethodConfig(method="mcn", settings=settings))
    runner = NodeRunner(open_setting(made, Runtime(cache=tmp_path, device="cpu", threads=1), 0, None, ALONE))
    context = MethodContext(("video", "audio", "text"), {}, made.joint)
    runner.run(build_method("mcn", context, settings))
    old, new = (runner.stages[name].tensors for name in ("audio+video", "joint"))
    statistics = [key for key in old if key.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert any(".video." in key for key in statistics)
    assert any(old[key].any() for key in statistics if key.endswith("running_mean"))
    assert all(torch.equal(value, new[key]) for key, value in old.items())
    before, after = (embedded(runner, name).under(("audio", "video")) for name in ("audio+video", "joint"))
    for modality in ("video", "audio"):
        assert torch.equal(before.embeddings[modality], after.embeddings[modality])
    own = embedded(runner, "joint").under(("text", "video"))
    assert not torch.equal(own.embeddings["video"], before.embeddings["video"])


def test_every_policy_runs_and_is_something_else_than_naive(table: Path, tmp_path: Path) -> None:
    methods = [method_of(policy, name) for name, policy in EVERY.items()]
    records = train(experiment_of(table, *methods), tmp_path / "runs", tmp_path / "cache")
    assert len({record.stages[0].hash for record in records}) == 1
    assert len({record.stages[1].hash for record in records}) == len(EVERY)
    for record in records:
        numbers = [n for n in record.retrieval.numbers if n.split == "test"]
        last = [n for n in numbers if n.stage == record.stages[-1].name]
        assert {n.direction for n in last} > {"b->text", "text->b", "a->b", "text->a+b"}
        assert all(n.trained for n in last)
        assert {n.direction for n in numbers if n.stage == record.stages[0].name} == {"b->text", "text->b"}


def test_dns_holds_the_old_heads_at_every_step_of_a_run(table: Path, tmp_path: Path) -> None:
    """What is left of an old head's change is what the projectors leave of it; its encoder stands still."""
    runner = runner_of(experiment_of(table, method_of(EVERY["dns"])), tmp_path / "cache")
    stage = runner.stages["joint"].stage
    old, new = (runner.stages[name].tensors for name in ("b+text", "joint"))
    assert all(torch.equal(value, new[key]) for key, value in old.items() if key.startswith("encoders"))
    model = runner.space(runner.stages["b+text"])
    whole = runner.space(runner.stages["joint"])
    load_tensors(whole, {key: value for key, value in model.state_dict().items() if "objective" not in key})
    known = of_stage(whole, stage, stage.train, runner.setting)
    batches = old_batches(stage, stage.retrieval.kept, known, runner.setting)
    heads = null_space(whole, ["b+text"], batches, threshold=0.05, known=known, device="cpu")
    for name in ("b", "text"):
        delta = torch.cat(
            [
                (new[f"projections.{name}.weight"] - old[f"projections.{name}.weight"]),
                (new[f"projections.{name}.bias"] - old[f"projections.{name}.bias"])[:, None],
            ],
            dim=1,
        )
        own, other = heads.projectors[name]
        assert delta.norm() > 0.01
        assert (other @ delta @ own).norm() < 1e-4 * delta.norm()


BOTH = ("low-rank", "o-lora")
"""The policies with which A and B learn."""


@pytest.mark.parametrize("name", ["low-rank", "o-lora", "inflora", "keeplora", "osrm"])
def test_old_towers_learn_through_adapters_that_end_in_their_weights(table: Path, tmp_path: Path, name: str) -> None:
    runner = runner_of(experiment_of(table, method_of(EVERY[name])), tmp_path / "cache")
    first, learned, merged = (runner.stages[stage].tensors for stage in ("b+text", "joint", "merged"))
    towers = [key for key in first if not key.startswith(("objective", "reconstructions"))]
    assert all(torch.equal(first[key], learned[key]) for key in towers)
    assert {key.split(".")[1] for key in learned if ".lora." in key} == {"b", "text"}
    assert {key.split(".")[0] for key in learned if ".lora." in key} == {"encoders", "projections"}
    assert all(value.any() for key, value in learned.items() if key.endswith(".B"))
    assert not any(".lora." in key for key in merged)
    assert any(not torch.equal(first[key], merged[key]) for key in towers if ".b." in key)
    before, after = embedded(runner, "joint"), embedded(runner, "merged")
    for modality, value in before.embeddings.items():
        torch.testing.assert_close(after.embeddings[modality], value, rtol=1e-4, atol=1e-4)
    facts = runner.stages["joint"].facts
    numel = sum(value.numel() for key, value in learned.items() if key.endswith(".A" if name in BOTH else ".B"))
    assert facts["trainable_parameters"] > numel
    directions_are_as_defined(runner, name)


def test_what_adapters_read_is_kept_off_what_the_first_stage_learned(table: Path, tmp_path: Path) -> None:
    overlaps = []
    for policy in (EVERY["low-rank"], EVERY["o-lora"]):
        runner = runner_of(experiment_of(table, method_of(policy)), tmp_path / "cache")
        stage, learned = runner.stages["joint"].stage, runner.stages["joint"].tensors
        initial, first = build_retrieval(stage, runner.setting.spec).state_dict(), runner.stages["b+text"].tensors
        overlap = 0.0
        for modality in ("b", "text"):
            change = first[f"projections.{modality}.weight"] - initial[f"projections.{modality}.weight"]
            directions = torch.linalg.svd(change).Vh[:2]
            overlap += float((directions @ learned[f"projections.{modality}.lora.default.A"].T).abs().sum())
        overlaps.append(overlap)
    plain, penalised = overlaps
    assert penalised < 0.8 * plain


def gradient_at_the_start(runner: NodeRunner, weight: str) -> torch.Tensor:
    """Of the new pairs' losses as the second stage begins, the mean over its batches in order."""
    stage, setting = runner.stages["joint"].stage, runner.setting
    model = build_retrieval(stage, setting.spec)
    load_tensors(model, runner.stages["b+text"].tensors)
    model.eval()
    total, count = torch.zeros(()), 0
    for batch in setting.dataset.loader("train", batch_size=stage.training.batch_size).epoch(0):
        e = model(batch).embeddings
        for x, y in (("a", "b"), ("a", "text")):
            both = batch.present[x] & batch.present[y]
            total = total + info_nce(e[x], e[y], present=both).mean()
        count += 1
    (found,) = torch.autograd.grad(total / count, [model.get_parameter(weight)])
    return found


def directions_are_as_defined(runner: NodeRunner, name: str) -> None:
    """Of the heads: from the covariance of all features of the first stage, and the gradient of the new pairs."""
    stage, setting = runner.stages["joint"].stage, runner.setting
    learned, model = runner.stages["joint"].tensors, runner.space(runner.stages["b+text"])
    for modality in ("b", "text"):
        a = learned[f"projections.{modality}.lora.default.A"].double()
        if name in BOTH:
            at_first = build_retrieval(stage, setting.spec).state_dict()[f"projections.{modality}.lora.default.A"]
            assert not torch.equal(a.float(), at_first)  # it learns
            continue
        loader = setting.dataset.loader("train", batch_size=64, modalities=("b", "text"))
        features = []
        for batch in loader.epoch(0):
            there = batch.present[modality]
            features.append(model(batch).encoded[modality].pooled[there].detach())
        f = torch.cat(features).double()
        covariance = f.T @ f
        values, vectors = torch.linalg.eigh(covariance)
        torch.testing.assert_close(a @ a.T, torch.eye(2, dtype=a.dtype), rtol=0, atol=1e-5)
        if name == "osrm":
            torch.testing.assert_close((a @ covariance @ a.T).trace(), values[:2].sum(), rtol=1e-3, atol=1e-3)
            continue
        shares = values.flip(0).cumsum(0) / values.sum()
        count = int((shares < 0.5).sum()) + 1  # the fewest that hold half of the energy
        basis = vectors.flip(1)[:, :count]
        assert (a @ basis).abs().max() < 1e-4
        if name == "inflora":
            expected = vectors.flip(1)[:, count : count + 2]
            torch.testing.assert_close((a @ expected).abs(), torch.eye(2, dtype=a.dtype), rtol=0, atol=1e-3)
        else:
            weight = model.projections[modality].weight.detach().double()
            _, lengths, right = torch.linalg.svd(weight)
            main = int(((lengths**2).cumsum(0) / (lengths**2).sum() < 0.5).sum()) + 1
            assert (a @ right[:main].T).abs().max() < 1e-4
            outside = torch.linalg.svd(torch.cat([basis, right[:main].T], dim=1))[0][:, count + main :]
            gradient = gradient_at_the_start(runner, f"projections.{modality}.weight").double()
            expected = torch.linalg.svd(gradient @ outside @ outside.T)[2][:2]
            torch.testing.assert_close((a @ expected.T).abs(), torch.eye(2, dtype=a.dtype), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["replay+ckc+features", "ewc", "bank-after", "dns", "keeplora"])
def test_what_was_interrupted_ends_with_the_same_bits(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    parts = [{"name": "replay", "share": 0.3}, {"name": "ckc"}, {"name": "feature_distillation"}]
    made = experiment_of(table, method_of(EVERY.get(name, parts)))
    (whole,) = train(made, tmp_path / "whole", tmp_path / "a", checkpoint_every_s=0)
    (half,) = stopped_and_repeated(
        lambda: train(made, tmp_path / "half", tmp_path / "b", checkpoint_every_s=0), monkeypatch
    )
    learned = -2 if name == "keeplora" else -1  # the last one only merges
    expected, found = (
        load_file(tmp_path / cache / "stages" / record.stages[learned].hash / "model.safetensors")
        for record, cache in ((whole, "a"), (half, "b"))
    )
    assert expected.keys() == found.keys()
    assert expected
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    assert json.dumps([n.metrics for n in whole.retrieval.numbers]) == json.dumps(
        [n.metrics for n in half.retrieval.numbers]
    )


def test_a_reservoir_is_a_share_drawn_by_the_seed() -> None:
    rows = np.arange(100, 140)
    found = [reservoir(rows, 0.25, seed) for seed in (0, 0, 1)]
    assert [len(one) for one in found] == [10, 10, 10]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert len(set(found[0])) == 10
    assert set(found[0]) <= set(rows)
    counts = np.zeros(4)
    for seed in range(400):
        counts += np.isin(np.arange(4), reservoir(np.arange(4), 0.5, seed))
    assert np.all(np.abs(counts / 400 - 0.5) < 0.1)  # four standard deviations


def test_the_reservoir_stands_beside_every_batch_and_follows_from_its_number(table: Path, tmp_path: Path) -> None:
    runner = runner_of(experiment_of(table, method_of(EVERY["replay"])), tmp_path / "cache")
    stage = runner.stages["joint"].stage
    model = runner.space(runner.stages["joint"])
    known = of_stage(model, stage, stage.train, runner.setting)
    plain = train_loader(stage, known.missing("train"), runner.setting)
    loader = replayed(plain, stage, known, runner.setting)
    assert isinstance(loader, Replayed)
    paired = [
        row
        for row in runner.setting.dataset.splits["train"].tolist()
        if all(runner.setting.dataset.columns[name].present[row] for name in ("b", "text"))
    ]
    assert len(loader.reservoir.rows) == round(0.3 * len(paired))
    assert set(loader.reservoir.rows) <= set(paired)
    seen = set()
    for batch, own in zip(loader.epoch(1), plain.epoch(1), strict=True):
        assert batch.replayed is not None
        late = batch.replayed
        assert batch.ids[: len(own)] == own.ids
        assert int((~late).sum()) == len(own)
        assert not batch.present["a"][late].any()
        assert batch.present["b"][late].all()
        assert not batch.inputs["a"][late].any()
        seen |= set(batch.index[late].tolist())
    assert seen <= set(loader.reservoir.rows)
    again = list(loader.epoch(1, start=2))
    assert [one.ids for one in again] == [one.ids for one in loader.epoch(1)][2:]
    first = next(iter(plain.epoch(0)))
    joined = with_replayed(first, first)
    assert len(joined) == 2 * len(first)
    assert torch.equal(joined.inputs["b"][len(first) :], first.inputs["b"])


def test_a_reservoir_of_one_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Raise `share`"):
        runner_of(experiment_of(table, method_of([{"name": "replay", "share": 0.01}])), tmp_path / "cache")
