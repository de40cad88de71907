"""Stages of a stream: what each sees, what holds it to the stages before, what a bank keeps, and the matrix."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from readings import readings
from tiny_experiment import tiny

from awase.config import ArrayInput, MethodConfig, Runtime, SceneDomain, ScenesConfig, StageConfig, StageStream
from awase.data import Dataset
from awase.distributed import ALONE
from awase.evaluation import Outputs
from awase.methods import build_method
from awase.models import Classifier
from awase.objectives import cross_entropy
from awase.records import Record
from awase.runner import nodes, stream_final
from awase.runner.build import build_classifier
from awase.runner.loaded import Model
from awase.runner.low_rank import layer_rows
from awase.runner.nodes import NodeRunner
from awase.runner.run import run_experiment
from awase.runner.setting import Setting, open_setting
from awase.runner.stream_final import score_stream, validation_mean
from awase.runner.stream_work import classes_of, fisher_of, stream_terms
from awase.runner.work import look
from awase.statistics import read_hits
from awase.types import ClassifierOutput

DOMAINS = {
    "street": SceneDomain(noise={"video": 2.0}),
    "film": SceneDomain(labels="unique", unique_to="video"),
    "song": SceneDomain(labels="unique", unique_to="audio"),
}
POLICIES = ("naive", "freeze", "replay", "lwf", "ewc", "low_rank", "bank", "alone")
CLIPS = ScenesConfig(num_train=42, num_val=21, num_test=33, domains=DOMAINS)


def method(policy: str, **settings: Any) -> MethodConfig:
    return MethodConfig(method="continual", label=policy, settings={"policy": policy, **settings})


def stream(*methods: MethodConfig, **changes: object) -> Any:
    made = tiny(*methods, probe=False, missing_rates=(), **changes)
    return made.model_copy(update={"data": made.data.model_copy(update={"scenes": CLIPS})})


@pytest.fixture
def setting(runtime: Runtime) -> Setting:
    return open_setting(stream(method("naive")), runtime, 0, None, ALONE)


def trained(setting: Setting, policy: str, **settings: Any) -> NodeRunner:
    runner = NodeRunner(setting)
    runner.run(build_method("continual", setting.method_context(), {"policy": policy, **settings}))
    return runner


def weights(model: Classifier) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


# ---- what a stage sees ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_a_stage_trains_and_validates_on_its_own_rows_alone(policy, setting, tmp_path, monkeypatch):
    """Every batch of the loop is of the stage's data set; replay brings rows of earlier ones, never of later ones."""
    seen: list[tuple[str, str, set[str], set[str]]] = []
    work = NodeRunner._work

    def watched(self, stage, model, parts, derived):
        made = work(self, stage, model, parts, derived)
        batches, validate, calls = made.batches, made.validate, list[set[str]]()
        ids = {name for batch in batches.epoch(0) for name in batch.ids}
        loader = Dataset.loader

        def noted(data, split, **options):
            calls.append({data.ids[row] for row in data.splits[split]})
            return loader(data, split, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Dataset, "loader", noted)
            validate()
        seen.append((policy, stage.name, ids, set().union(*calls)))
        return made

    monkeypatch.setattr(NodeRunner, "_work", watched)
    fresh = open_setting(stream(method(policy)), setting.runtime.model_copy(update={"cache": tmp_path}), 0, None, ALONE)
    trained(fresh, policy, **({"share": 0.5} if policy == "replay" else {}))
    data_sets = dict(zip(fresh.dataset.rows.ids, fresh.dataset.rows.data_sets, strict=True))
    names = list(DOMAINS)
    assert [name for _, name, _, _ in seen] == names
    for place, (_, name, ids, validated) in enumerate(seen):
        there = {data_sets[one] for one in ids}
        assert there == (set(names[: place + 1]) if policy == "replay" else {name})
        assert {one.split("-")[0] for one in ids} == {"train"}
        assert {data_sets[one] for one in validated} == {name}
        assert {one.split("-")[0] for one in validated} == {"val"}


def test_the_first_stage_is_trained_once_for_all_policies(setting):
    hashes = {policy: [r.hash for r in trained(setting, policy).stages.values()] for policy in POLICIES}
    assert len({found[0] for found in hashes.values()}) == 1
    assert len({found[1] for found in hashes.values()}) == len(POLICIES)


# ---- what holds a stage to those before -----------------------------------------------------------------------------


def with_stage(setting: Setting, policy: str, **settings: Any) -> tuple[StageConfig, NodeRunner]:
    """The last stage of a policy, and a runner that has run the others."""
    stages = build_method("continual", setting.method_context(), {"policy": policy, **settings})
    runner = NodeRunner(setting)
    runner.run(stages[:-1])
    return stages[-1], runner


def test_fisher_information_is_the_mean_of_squared_gradients_of_single_samples(setting):
    runner = trained(setting, "naive")
    own = setting.of_stage(runner.stages["film"].stage)
    model = runner.model(runner.stages["film"])
    chosen = {name: value for name, value in model.named_parameters() if name.startswith(("heads", "encoders.audio"))}
    found = fisher_of(model, chosen, own, 1000)
    for value in chosen.values():
        value.requires_grad_(True)
    sums, count = {name: torch.zeros_like(value) for name, value in chosen.items()}, 0
    for batch in own.dataset.loader("train", batch_size=5, modalities=model.modalities).epoch(0):
        losses = cross_entropy(model(batch).logits, batch.targets)
        for loss in losses:
            gradients = torch.autograd.grad(loss, list(chosen.values()), retain_graph=True)
            for name, gradient in zip(chosen, gradients, strict=True):
                sums[name] += gradient**2
            count += 1
    assert count == 14
    for name, value in found.items():
        torch.testing.assert_close(value, sums[name] / count, rtol=1e-4, atol=1e-7)  # batches of 5 against 1
    few = fisher_of(model, chosen, own, 3)
    assert any(not torch.equal(few[name], found[name]) for name in found)


def test_ewc_holds_to_the_weights_after_every_earlier_stage(setting):
    stage, runner = with_stage(setting, "ewc", strength=30.0)
    models = [runner.model(runner.stages[name]) for name in ("street", "film")]
    own = [setting.of_stage(runner.stages[name].stage) for name in ("street", "film")]
    model = deepcopy(models[-1])
    for value in model.parameters():
        value.requires_grad_(True)
        value.data += 0.01
    (term,) = stream_terms(stage, model, list(zip(models, own, strict=True)), setting)
    expected = 0.0
    for teacher, rows in zip(models, own, strict=True):
        anchors = dict(teacher.named_parameters())
        fisher = fisher_of(teacher, anchors, rows, 512)
        for name, value in model.named_parameters():
            expected += 15.0 * (fisher[name] * (value - anchors[name]) ** 2).sum().item()
    assert expected > 0
    batch = next(iter(own[0].dataset.loader("train", batch_size=2).epoch(0)))
    assert term(batch, ClassifierOutput(torch.zeros(2, 1))).item() == pytest.approx(expected, rel=1e-4)


def test_lwf_holds_to_the_logits_of_the_stage_before_over_the_classes_seen(setting):
    stage, runner = with_stage(setting, "lwf", distillation=0.7, temperature=3.0)
    assert stage.teachers == ("film",)
    teacher = runner.model(runner.stages["film"])
    (term,) = stream_terms(stage, teacher, [(teacher, setting)], setting)
    batch = next(iter(setting.of_stage(stage).dataset.loader("train", batch_size=5).epoch(0)))
    logits = torch.randn(5, len(setting.dataset.classes), generator=torch.Generator().manual_seed(0))
    seen = [
        k
        for k, name in enumerate(setting.dataset.classes)
        if name in ("red", "green", "blue", "yellow", "rows", "columns", "diagonals", "dots")
    ]
    with torch.no_grad():
        old = teacher(batch).logits
    expected = [
        0.7
        * 9.0
        * sum(
            p * (torch.log(p) - torch.log(q))
            for p, q in zip(torch.softmax(a[seen] / 3.0, 0), torch.softmax(b[seen] / 3.0, 0), strict=True)
        )
        for a, b in zip(old, logits, strict=True)
    ]
    found = term(batch, ClassifierOutput(logits))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-6)
    assert len(seen) < len(setting.dataset.classes)


def test_lwf_on_features_is_the_distance_that_umt_has(setting):
    stage, _ = with_stage(setting, "lwf", distilled="features", distillation=2.0)
    assert (stage.objective.distillation, stage.stream.distillation, stage.teachers) == (2.0, 0.0, ("film",))


LOW: dict[str, dict[str, Any]] = {
    "random": {"rank": 2},
    "inflora": {"rank": 2, "directions": "inflora", "energy": 0.5},
    "keeplora": {"rank": 2, "directions": "keeplora", "energy": 0.5},
    "osrm": {"rank": 2, "directions": "osrm"},
    "o-lora": {"rank": 2, "weight": 1.0},
}


@pytest.mark.parametrize("name", LOW)
def test_encoders_learn_through_adapters_that_end_in_the_weights_of_the_next_stage(name, setting):
    runner = trained(setting, "low_rank", low_rank={"targets": "all-linear", **LOW[name]})
    first, second, third = (runner.stages[place].tensors for place in DOMAINS)
    frozen = [key for key in first if key.startswith("encoders.")]
    assert all(torch.equal(first[key], second[key]) for key in frozen)
    assert not torch.equal(first["heads.video.weight"], second["heads.video.weight"])
    ends = [key for key in second if key.endswith(".B")]
    assert {key.split(".")[1] for key in ends} == {"video", "audio"}
    assert all(second[key].any() for key in ends)
    for key in ends:
        layer = key.partition(".lora.")[0]
        a, b, w = second[key.removesuffix("B") + "A"], second[key], second[f"{layer}.weight"]
        torch.testing.assert_close(third[f"{layer}.weight"], w + (b.flatten(1) @ a.flatten(1)).view_as(w))
        assert not torch.equal(third[key], b)


def taken_by(runner: NodeRunner, layer: str, stage: str, places: tuple[str, ...]) -> torch.Tensor:
    """f^T f of what a layer takes of the training rows of some data sets, by the model of a stage, in float64."""
    model, rows = runner.model(runner.stages[stage]), []
    module = model.get_submodule(layer)
    handle = module.register_forward_pre_hook(lambda _, args: rows.append(layer_rows(module, args[0]).double()))
    for batch in runner.setting.of_rows(places).dataset.loader("train", batch_size=64).epoch(0):
        model(batch)
    handle.remove()
    every = torch.cat(rows)
    return every.T @ every


@pytest.mark.parametrize("name", ["inflora", "osrm"])
def test_directions_are_of_the_rows_of_all_earlier_data_sets(name, setting):
    """Of the third stage, whose model begins as the second one's with its adapters in the weights."""
    runner = trained(setting, "low_rank", low_rank={"targets": "all-linear", **LOW[name]})
    key = next(key for key in runner.stages["song"].tensors if key.endswith(".A") and ".audio." in key)
    a = runner.stages["song"].tensors[key].flatten(1).double()
    old, new = (taken_by(runner, key.partition(".lora.")[0], "film", one) for one in (("street", "film"), ("song",)))
    values, vectors = torch.linalg.eigh(old)
    if name == "osrm":
        torch.testing.assert_close((a @ old @ a.T).trace(), values[:2].sum(), rtol=1e-3, atol=1e-3)
        return
    shares = values.flip(0).cumsum(0) / values.sum()
    basis = vectors.flip(1)[:, : int((shares < 0.5).sum()) + 1]
    outside = torch.eye(len(old), dtype=old.dtype) - basis @ basis.T
    left = outside @ new @ outside
    assert (a @ basis).abs().max() < 1e-3
    torch.testing.assert_close((a @ left @ a.T).trace(), torch.linalg.eigvalsh(left)[-2:].sum(), rtol=1e-3, atol=1e-3)


def test_o_lora_keeps_what_adapters_read_off_what_was_learned(setting):
    stage, runner = with_stage(setting, "low_rank", low_rank={"rank": 2, "targets": "all-linear", "weight": 0.5})
    model = build_classifier(stage, setting.spec, {})
    runner._inherit(model, stage)
    (term,) = stream_terms(stage, model, [], setting)
    initial, expected = build_classifier(stage, setting.spec, {}), 0.0
    for path, parameter in model.named_parameters():
        if path.endswith(".A"):
            layer = path.partition(".lora.")[0]
            change = model.get_submodule(layer).weight - initial.get_submodule(layer).weight
            directions = torch.linalg.svd(change.detach().flatten(1).double(), full_matrices=False).Vh[:2]
            expected += 0.5 * float((directions.float() @ parameter.detach().flatten(1).T).abs().sum())
    batch = next(iter(setting.dataset.loader("train", batch_size=2).epoch(0)))
    assert term(batch, ClassifierOutput(torch.zeros(2, 1))).item() == pytest.approx(expected, rel=1e-3)
    assert expected > 0


# ---- the bank -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["first", "initial"])
def test_a_bank_answers_for_earlier_data_sets_bit_for_bit_as_before(base, setting):
    """Logits of test rows and every buffer, batch norms among them, after each later stage."""
    runner = trained(setting, "bank", base=base)
    answers: dict[str, list[torch.Tensor]] = {name: [] for name in DOMAINS}
    for place, result in enumerate(runner.stages.values()):
        outputs = look(runner.model(result), "test", setting)
        for number, name in enumerate(list(DOMAINS)[: place + 1]):
            rows = torch.from_numpy(setting.dataset.stream.of_row[outputs.index.numpy()] == number)
            answers[name].append(outputs.logits[rows])
    assert [len(found) for found in answers.values()] == [3, 2, 1]
    for found in answers.values():
        assert all(torch.equal(found[0], later) for later in found[1:])
    first, *_, last = (runner.model(result).state_dict() for result in runner.stages.values())
    buffers = [name for name in first if "running" in name]
    assert buffers
    assert all(torch.equal(first[name], last[name]) for name in buffers)
    learned = [name for name in last if ".lora.song.B" in name]
    assert learned
    assert all(last[name].abs().max() > 0 for name in learned)


def test_a_naive_stream_does_not_answer_as_before(setting):
    """The same comparison fails where everything goes on to learn: it can see a change."""
    runner = trained(setting, "naive")
    seen = [look(runner.model(result), "test", setting).logits for result in runner.stages.values()]
    assert not torch.equal(seen[0], seen[1])


def test_rows_of_a_batch_are_answered_under_their_own_data_set(setting):
    runner = trained(setting, "bank")
    model = runner.model(runner.stages["song"])
    outputs = look(model, "test", setting)
    assert model.routed == "song", "what answers is put back"
    assert len(outputs) == 33
    for batch in setting.dataset.loader("test", batch_size=1).epoch(0):
        name = setting.dataset.rows.data_sets[int(batch.index)]
        model.route(None if name == "street" else name)
        with torch.no_grad():
            expected = model(batch).logits
        (row,) = (k for k, one in enumerate(outputs.ids) if one == batch.ids[0])
        torch.testing.assert_close(outputs.logits[row : row + 1], expected, rtol=1e-4, atol=1e-5)  # other batch sizes
    with pytest.raises(KeyError, match=r"no key 'street'; it has film, song"):
        model.route("street")


# ---- the matrix -----------------------------------------------------------------------------------------------------


def test_the_matrix_counts_hand_made_predictions(setting, monkeypatch):
    """Row k of a data set is right after stage i where k is above i; or only once the other classes are out of it."""
    runner = trained(setting, "naive")
    order, dataset = list(runner.stages), setting.dataset
    of_row = dataset.stream.of_row

    def said(model, split, seen_setting):
        rows = dataset.splits[split]
        logits = torch.zeros(len(rows), len(dataset.classes))
        for k, row in enumerate(rows.tolist()):
            allowed = classes_of(dataset, (dataset.stream.names[of_row[row]],))
            outside = next(c for c in range(len(dataset.classes)) if c not in allowed)
            wrong = next(c for c in allowed if c != dataset.targets[row])
            target, turn = int(dataset.targets[row]), (k // 3) % 4
            logits[k, target] = 2.0 if turn > model.place else 0.0
            logits[k, wrong] = 1.0
            logits[k, outside] = 3.0 if turn == 3 else 0.0
        targets = torch.from_numpy(dataset.targets[rows])
        ids = tuple(dataset.ids[row] for row in rows)
        return Outputs(ids, torch.from_numpy(rows), targets, logits, {}, {}, {}, 0)

    monkeypatch.setattr(stream_final, "look", said)
    build = NodeRunner.model

    def numbered(self, result):
        model = build(self, result)
        model.place = order.index(result.stage.name)
        return model

    monkeypatch.setattr(NodeRunner, "model", numbered)
    record, hits = score_stream(runner, runner.stages["song"])
    assert record.kind == "sequence"
    assert record.trained["film"] == ("street", "film")
    for number in record.numbers:
        size = {"val": 7, "test": 11}[number.split]
        turns, stage = np.arange(size) % 4, order.index(number.stage)
        right = turns > stage if number.known else (turns > stage) & (turns < 3)
        assert number.count == size
        assert number.accuracy == pytest.approx(right.mean())
    assert len(record.numbers) == 3 * 3 * 2 * 2
    assert len(hits.id) == 3 * 33 * 2
    part = hits.parts()["film", "song", True]
    assert [right for right, _ in part.values()] == (np.arange(11) % 4 > 1).tolist()
    mean = validation_mean(runner, runner.stages["song"], "accuracy")
    assert mean == pytest.approx(((np.arange(7) % 4 > 2) & (np.arange(7) % 4 < 3)).mean())


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory) -> tuple[dict[str, Record], Path]:
    out = tmp_path_factory.mktemp("stream")
    joint = MethodConfig(method="joint", settings={"fusion": "late_mean"})
    runs = Runtime(cache=cache, device="cpu", threads=1)
    records = run_experiment(stream(joint, *(method(policy) for policy in POLICIES)), runs, out)
    return {record.method: record for record in records}, out


def test_records_of_a_stream(finished):
    records, out = finished
    assert {name: record.stream.kind for name, record in records.items()} == {
        "joint": "joint",
        "alone": "alone",
        **dict.fromkeys(POLICIES[:-1], "sequence"),
    }
    for name, record in records.items():
        assert record.stream.data_sets == tuple(DOMAINS)
        assert {label for labels in record.stream.classes.values() for label in labels} == set(record.classes)
        right = read_hits(out / name / "seed-0").parts()
        for number in record.stream.numbers:
            if number.split == "test":
                rows = right[number.stage, number.data_set, number.known]
                assert number.accuracy == pytest.approx(np.mean([hit for hit, _ in rows.values()]))
    aware = [number.known for number in records["bank"].stream.numbers if number.stage != "street"]
    assert all(aware), "a bank is told the data set, and has no task-agnostic numbers"
    assert any("task-aware" in note for note in records["bank"].notes)


def test_a_stage_knows_less_of_an_earlier_data_set_in_its_guard(finished):
    records, _ = finished
    for stage in records["bank"].stages[1:]:
        assert all(guard["before"] == guard["after"] for guard in stage.guards.values())


def test_several_candidates_are_chosen_by_the_mean_over_the_data_sets(setting, tmp_path):
    tried = MethodConfig(
        method="continual", candidates=({"training.learning_rate": 1e-6}, {"training.learning_rate": 1e-2})
    )
    (record,) = run_experiment(stream(tried), setting.runtime, tmp_path)
    values = [one["validation"] for one in record.chosen["tried"]]
    numbers = [n for n in record.stream.numbers if (n.stage, n.split, n.known) == ("song", "val", False)]
    assert max(values) == pytest.approx(np.mean([number.accuracy for number in numbers]))


# ---- requests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"policy": "replay", "strength": 1.0}, r"'replay' does not read strength: strength is for ewc"),
        ({"policy": "naive", "share": 0.5}, r"share is for replay"),
        ({"policy": "alone", "training": {"epochs": 1}}, r"does not read training"),
        ({"policy": "lwf", "distilled": "features", "temperature": 1.0}, r"without a temperature"),
        ({"policy": "bank", "fusion": "concat"}, r"'concat' has none; use late_mean or sum"),
        ({"policy": "bank", "base": "initial", "first_training": {"epochs": 1}}, r"no stage of its own"),
        ({"policy": "replay", "share": 1.5}, r"less than or equal to 1"),
        ({"policy": "forget"}, r"policy='forget'"),
    ],
)
def test_wrong_settings_are_sentences(settings, words, setting):
    with pytest.raises(ValueError, match=words):
        build_method("continual", setting.method_context(), settings)


def test_a_stream_is_asked_for_where_there_is_none(runtime, tmp_path):
    with pytest.raises(ValueError, match=r"this data is no stream; say which data set"):
        run_experiment(tiny(method("naive")), runtime, tmp_path)


def test_a_name_that_can_be_no_key_is_refused_of_a_bank_alone(setting):
    context = setting.method_context()
    odd = type(context)(context.modalities, context.unimodal, context.joint, None, ("v1.0", "v2"))
    with pytest.raises(ValueError, match=r"'v1.0' cannot have adapters"):
        build_method("continual", odd, {"policy": "bank"})
    assert [stage.name for stage in build_method("continual", odd, {})] == ["v1.0", "v2"]


def test_names_with_the_signs_of_patterns_and_of_modules_are_keys(setting):
    classes = {"train": ("red", "green"), "a[b]*": ("blue", "yellow")}
    experiment = tiny(method("bank"), probe=False)
    data = experiment.data.model_copy(
        update={"stream": type(experiment.data.stream)(classes=classes, order=("a[b]*", "train"))}
    )
    fresh = open_setting(experiment.model_copy(update={"data": data}), setting.runtime, 0, None, ALONE)
    runner = trained(fresh, "bank")
    assert runner.stages["train"].facts["trained_parts"] == [
        "video.adapter.train",
        "audio.adapter.train",
        "video.head.train",
        "audio.head.train",
    ]


def test_a_stage_of_no_stream_has_the_address_that_it_had(setting):
    stage = StageConfig(name="joint", modalities=("video",))
    document = nodes.stage_document(stage, [], "i", setting.surroundings(), {})
    assert "stream" not in document["stage"]
    of = stage.model_copy(update={"stream": StageStream(data_sets=("film",))})
    assert nodes.stage_document(of, [], "i", setting.surroundings(), {})["stage"]["stream"]["data_sets"] == ["film"]


def test_a_saved_bank_answers_new_rows_by_the_column_of_their_data_set(tmp_path):
    """A table of readings in two places, where the same reading means another label."""
    rows = []
    random = np.random.default_rng(5)
    for number in range(90):
        place, label = ("sea", "hill")[number % 2], int(random.integers(2))
        values = np.eye(3)[label if place == "sea" else 1 - label] * 3 + 0.1 * random.normal(size=3)
        split = ("train", "train", "val", "test", "train")[number % 5]
        rows.append(
            {
                "id": f"r{number}",
                "split": split,
                "label": "xy"[label],
                "place": place,
                "a": json.dumps(values.round(3).tolist()),
            }
        )
    table = tmp_path / "rows.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    bank = method("bank", adapter={"rank": 2, "targets": "*"})
    data = {"inputs": {"a": ArrayInput(column="a", shape=(3,))}, "stream": {"column": "place"}}
    made = readings(table, ("a",), (bank,), epochs=20, data=data, missing_rates=(), probe=False)
    made = made.model_copy(update={"joint": made.joint.model_copy(update={"batch_size": 8})})
    (record,) = run_experiment(made, Runtime(cache=tmp_path / "cache", device="cpu", threads=1), tmp_path / "out")
    aware = {n.data_set: n.accuracy for n in record.stream.numbers if (n.stage, n.split) == ("hill", "test")}
    assert aware == {"sea": 1.0, "hill": 1.0}
    model = Model.from_pretrained(tmp_path / "out" / "bank" / "seed-0", device="cpu", cache=tmp_path / "cache")
    known = {row["id"]: row["label"] for row in rows}
    bare = [{key: row[key] for key in ("id", "place", "a")} for row in rows if row["split"] == "test"]
    told = model.predict([{**row, "a": json.loads(row["a"])} for row in bare])
    assert [model.classes[k] for k in told.predicted] == [known[name] for name in told.ids]
    with pytest.raises(ValueError, match=r"needs the column 'place', with one of sea, hill"):
        model.predict([{"id": "r0", "a": [1.0, 0.0, 0.0]}])
    with pytest.raises(ValueError, match=r"knows no data set moon; it knows sea, hill"):
        model.predict([{"id": "r0", "place": "moon", "a": [1.0, 0.0, 0.0]}])
