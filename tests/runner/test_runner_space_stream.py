"""Joint spaces over a stream of data sets: what a stage sees, what each policy is about, and what a bank leaves."""

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
from watched_runs import stopped_and_repeated

from awase.config import Experiment, MethodConfig, Runtime, StreamConfig
from awase.distributed import ALONE
from awase.evaluation import Embedded
from awase.methods import build_method
from awase.objectives import info_nce
from awase.records import read_record
from awase.report.groups import tabulate
from awase.report.load import load
from awase.report.retrieval_lines import build_space_lines
from awase.report.retrieval_policies import naive_of, policy_of
from awase.report.retrieval_stages import staged_methods
from awase.runner import space_work as work_of_spaces
from awase.runner.build import build_retrieval
from awase.runner.nodes import NodeRunner, load_tensors
from awase.runner.run import run_experiment
from awase.runner.setting import Setting, open_setting
from awase.runner.space import Space
from awase.runner.space_again import Request, rescore
from awase.runner.space_files import read_embeddings
from awase.runner.space_scores import embed_split, space_metrics
from awase.runner.space_stream import answer_for, validation_mean_of_spaces
from awase.runner.space_work import space_work
from awase.training.parts import freeze_except, match_parts

PLACES = ("street", "studio", "field")
SPACE: dict[str, Any] = {
    "space": {"dim": 13, "reconstruction": 7, "projection": "linear"},
    "loss": "info_nce",
    "temperature": 0.2,
}
LOW = {"name": "low_rank", "rank": 2, "targets": "all-linear"}
POLICIES: dict[str, list[dict[str, Any]]] = {
    "naive": [],
    "freeze": [{"name": "freeze"}],
    "features": [{"name": "feature_distillation"}],
    "similarities": [{"name": "similarity_distillation"}],
    "ckc": [{"name": "ckc"}],
    "replay": [{"name": "replay", "share": 0.3}],
    "ewc": [{"name": "ewc", "samples": 9}],
    "dns": [{"name": "dns", "threshold": 0.2}],
    "low-rank": [LOW],
    "o-lora": [{**LOW, "weight": 1.0}],
    "inflora": [{**LOW, "directions": "inflora", "energy": 0.5}],
    "keeplora": [{**LOW, "directions": "keeplora", "energy": 0.3}],
    "osrm": [{**LOW, "directions": "osrm"}],
    "bank": [{"name": "bank", "combination": {"adapter": {"rank": 2, "targets": "all-linear"}}}],
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = reading_rows({"a": 5, "text": 7}, {"train": 60, "val": 27, "test": 33})
    places = [{**row, "place": PLACES[number % 3]} for number, row in enumerate(rows)]
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", places)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def over_places(label: str, **settings: Any) -> MethodConfig:
    own = {"policy": POLICIES[label]} if label in POLICIES else {}
    return MethodConfig(method="continual_mcn", label=label, settings={"retrieval": SPACE, **own, **settings})


def experiment_of(table: Path, *methods: MethodConfig) -> Experiment:
    data = readings_data(table, stream=StreamConfig(column="place"))
    longer = TRAINING.model_copy(update={"epochs": 3, "batch_size": 10})
    return space_experiment(data, *methods, encoders=small_encoders(), joint=longer)


def setting_of(table: Path, cache: Path) -> Setting:
    made = experiment_of(table, over_places("naive"))
    return open_setting(made, Runtime(cache=cache, device="cpu", threads=1), 0, None, ALONE)


def trained(setting: Setting, label: str, **settings: Any) -> NodeRunner:
    runner, method = NodeRunner(setting), over_places(label, **settings)
    runner.run(build_method(method.method, setting.method_context(), method.settings))
    return runner


def embedded(runner: NodeRunner, stage: str, place: str) -> Embedded:
    """The test rows of a place as a stage answers for them."""
    model = runner.space(runner.stages[stage])
    answer_for(model, place)
    return embed_split(model, f"test {place}", runner.setting.apart())


def place_of(setting: Setting) -> dict[str, str]:
    rows = setting.dataset.rows
    return dict(zip(rows.ids, rows.data_sets, strict=True))


# ---- what a stage sees ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", POLICIES)
def test_a_stage_trains_and_validates_on_its_own_rows_alone(
    label: str, table: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = setting_of(table, cache)
    places, seen = place_of(setting), list[tuple[str, set[str], set[str]]]()

    def watched(model, stage, parts, given):
        validated = list[set[str]]()

        def noted(of_model, of_stage, split, own, known=None):
            validated.append({own.dataset.ids[row] for row in own.dataset.splits[split]})
            return space_metrics(of_model, of_stage, split, own, known)

        with monkeypatch.context() as patch:
            patch.setattr(work_of_spaces, "space_metrics", noted)
            made = space_work(model, stage, parts, given)
            made.validate()
        batches = list(made.batches.epoch(0))
        own = {name for b in batches for name, again in zip(b.ids, replayed_of(b), strict=True) if not again}
        old = {name for b in batches for name, again in zip(b.ids, replayed_of(b), strict=True) if again}
        assert {places[name] for name in set().union(own, *validated)} == {stage.name}
        assert not set().union(*validated) & own
        seen.append((stage.name, own, {places[name] for name in old}))
        return made

    monkeypatch.setattr("awase.runner.nodes.space_work", watched)
    runner = trained(setting, label, training={"weight_decay": 0.123})  # nobody has trained these stages before
    assert [name for name, _, _ in seen] == list(PLACES)[-len(seen) :]
    assert len(seen) >= 2
    assert list(runner.stages) == list(PLACES)
    for name, own, old in seen:
        assert len(own) == 20
        assert old == (set(PLACES[: PLACES.index(name)]) if label == "replay" else set())


def replayed_of(batch: Any) -> list[bool]:
    return [False] * len(batch) if batch.replayed is None else batch.replayed.tolist()


def test_the_first_stage_is_trained_once_and_later_ones_differ(table: Path, cache: Path) -> None:
    setting = setting_of(table, cache)
    hashes = {label: [one.hash for one in trained(setting, label).stages.values()] for label in POLICIES}
    assert len({found[0] for found in hashes.values()}) == 1
    assert len({found[1] for found in hashes.values()}) == len(POLICIES)
    tensors = {label: trained(setting, label).stages["field"].tensors for label in POLICIES}
    naive = tensors["naive"]["projections.a.weight"]
    assert not any(
        torch.equal(naive, own["projections.a.weight"]) for label, own in tensors.items() if label != "naive"
    )


def test_one_data_set_alone_is_one_stage(table: Path, cache: Path) -> None:
    runner = trained(setting_of(table, cache), "alone-field", alone="field")
    (stage,) = runner.stages.values()
    assert (stage.stage.name, stage.stage.start, stage.stage.stream.data_sets) == ("field", (), ("field",))


# ---- what the policies are about ------------------------------------------------------------------------------------


def second_stage(runner: NodeRunner) -> tuple[Any, Any, Any]:
    """(model as the second stage begins, stage, its step)."""
    stage, setting = runner.stages["studio"].stage, runner.setting
    model = build_retrieval(stage, setting.spec)
    load_tensors(model, runner.stages["street"].tensors)
    parts = match_parts(stage.train, model.parts())
    freeze_except(model, parts)
    return model, stage, space_work(model, stage, parts, setting).forward


def rows_of_place(runner: NodeRunner, place: str, modality: str) -> torch.Tensor:
    """The features of a place's training rows that have the modality, under the first stage's model."""
    setting, model = runner.setting, runner.space(runner.stages["street"])
    parts = []
    for batch in setting.of_rows((place,)).dataset.loader("train", batch_size=64).epoch(0):
        there = batch.present[modality]
        parts.append(model(batch).encoded[modality].pooled[there].detach())
    return torch.cat(parts).double()


def test_fisher_information_is_of_the_rows_of_the_earlier_data_set(table: Path, cache: Path) -> None:
    """A head's bias: of the mean of squared gradients over 9 rows of the street, shuffled as in its first epoch."""
    runner = trained(setting_of(table, cache), "ewc")
    model, stage, step = second_stage(runner)
    found = step.kept.elastic.fisher["projections.a.bias"]
    loader = runner.setting.of_rows(("street",)).dataset.loader(
        "train", batch_size=stage.training.batch_size, seed=0, train=True
    )
    batch = next(iter(loader.epoch(0)))
    model.eval()
    output, total = model(batch), torch.zeros(13)
    for i in range(9):
        own = torch.zeros(())
        for x, y in (("a", "b"), ("a", "text"), ("b", "text")):
            both = batch.present[x] & batch.present[y]
            losses = info_nce(output.embeddings[x], output.embeddings[y], temperature=0.2, present=both)
            own = own + losses[i]
        (gradient,) = torch.autograd.grad(own, [model.projections["a"].bias], retain_graph=True)
        total += gradient.square() / 9
    torch.testing.assert_close(found, total, rtol=1e-3, atol=1e-6)


def test_null_spaces_and_directions_are_of_the_earlier_rows(table: Path, cache: Path) -> None:
    runner = trained(setting_of(table, cache), "dns")
    f = rows_of_place(runner, "street", "b")
    f = torch.cat([f, torch.ones(len(f), 1, dtype=f.dtype)], dim=1)
    own = second_stage(runner)[2].kept.heads.projectors["b"][0].double()
    values, vectors = torch.linalg.eigh(f.T @ f)
    span = vectors[:, values > 0.2 * values[-1]]
    torch.testing.assert_close(own, span @ span.T, rtol=0, atol=1e-4)
    runner = trained(setting_of(table, cache), "osrm")
    f = rows_of_place(runner, "street", "b")
    smallest = torch.linalg.eigvalsh(f.T @ f)[:2].sum()
    a = runner.stages["studio"].tensors["projections.b.lora.default.A"].double()
    torch.testing.assert_close((a @ (f.T @ f) @ a.T).trace(), smallest, rtol=1e-3, atol=1e-3)
    runner = trained(setting_of(table, cache), "inflora")
    old, new = (rows_of_place(runner, place, "b") for place in ("street", "studio"))
    a = runner.stages["studio"].tensors["projections.b.lora.default.A"].double()
    values, vectors = torch.linalg.eigh(old.T @ old)
    shares = values.flip(0).cumsum(0) / values.sum()
    basis = vectors.flip(1)[:, : int((shares < 0.5).sum()) + 1]
    assert (a @ basis).abs().max() < 1e-4
    outside = new - new @ basis @ basis.T
    best = torch.linalg.eigvalsh(outside.T @ outside)[-2:].sum()
    torch.testing.assert_close((a @ (outside.T @ outside) @ a.T).trace(), best, rtol=1e-3, atol=1e-3)


def test_adapters_of_a_stage_end_in_the_weights_of_the_next(table: Path, cache: Path) -> None:
    runner = trained(setting_of(table, cache), "low-rank")
    first, second, third = (runner.stages[place].tensors for place in PLACES)
    assert not any(".lora." in key for key in first)
    name = "projections.a"
    assert torch.equal(first[f"{name}.weight"], second[f"{name}.weight"])
    a, b = (second[f"{name}.lora.default.{matrix}"] for matrix in "AB")
    torch.testing.assert_close(third[f"{name}.weight"], second[f"{name}.weight"] + b @ a, rtol=1e-5, atol=1e-6)
    assert not torch.equal(third[f"{name}.lora.default.B"], b)


def test_a_bank_answers_for_earlier_data_sets_bit_for_bit(table: Path, cache: Path) -> None:
    runner = trained(setting_of(table, cache), "bank")
    for place, then in (("street", "street"), ("studio", "studio")):
        before, after = embedded(runner, then, place), embedded(runner, "field", place)
        assert before.embeddings.keys() == set(INPUTS)
        assert all(torch.equal(before.embeddings[name], after.embeddings[name]) for name in before.embeddings)
    own, base = embedded(runner, "field", "field"), embedded(runner, "street", "field")
    assert not any(torch.equal(own.embeddings[name], base.embeddings[name]) for name in base.embeddings)
    old, new = runner.stages["street"].tensors, runner.stages["field"].tensors
    assert all(torch.equal(value, new[key]) for key, value in old.items())
    keys = {key.split(".lora.")[1].rpartition(".")[0] for key in new if ".lora." in key}
    assert keys == {"studio", "field"}
    ends = [key for key in new if key.endswith(".B")]
    assert {key.split(".")[0] for key in ends} == {"encoders", "projections"}
    assert all(new[key].any() for key in ends)
    naive = trained(setting_of(table, cache), "naive")
    a, b = embedded(naive, "street", "street"), embedded(naive, "field", "street")
    assert not torch.equal(a.embeddings["a"], b.embeddings["a"])


# ---- what is measured -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def out(table: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    joint = MethodConfig(method="mcn", label="joint", settings={"retrieval": SPACE})
    methods = [over_places(label) for label in ("naive", "replay", "bank")]
    made = experiment_of(table, joint, *methods, over_places("alone-field", alone="field"))
    run_experiment(made, Runtime(cache=cache, device="cpu", threads=1), folder)
    return folder


def test_every_data_set_is_a_test_set_after_every_stage(out: Path, table: Path, cache: Path) -> None:
    runs = {run.record.method: run for run in load([out])}
    for label in ("naive", "bank"):
        record = runs[label].record
        numbers = {(n.stage, n.split, n.direction): n for n in record.retrieval.numbers}
        assert {split for _, split, _ in numbers} == {f"{kind} {place}" for kind in ("val", "test") for place in PLACES}
        runner = trained(setting_of(table, cache), label)
        for stage in PLACES:
            for place in PLACES:
                number = numbers[stage, f"test {place}", "b->a"]
                found = embedded(runner, stage, place)
                assert number.protocol["gallery_size"] == len(found) == 11
                both = found.present["a"] & found.present["b"]
                unit = {m: torch.nn.functional.normalize(found.embeddings[m], dim=1) for m in "ab"}
                scores = unit["b"] @ unit["a"].T
                scores[:, ~found.present["a"]] = -9
                best = sum(int(scores[i].argmax() == i) for i in range(11) if both[i])
                assert number.metrics["R@1"] == pytest.approx(best / int(found.present["b"].sum()))
                assert number.trained == (PLACES.index(place) <= PLACES.index(stage))
    means = {(m.split, m.name): m.value for m in runs["naive"].record.metrics if m.condition == "full"}
    assert means["test", "R@1"] == pytest.approx(sum(means[f"test {place}", "R@1"] for place in PLACES) / 3)
    assert means["val", "R@1"] == pytest.approx(
        validation_mean_of_spaces(trained(setting_of(table, cache), "naive"), last_of(table, cache), "R@1")
    )


def last_of(table: Path, cache: Path) -> Any:
    return trained(setting_of(table, cache), "naive").stages["field"]


def test_the_report_has_the_matrix_of_every_data_set(out: Path) -> None:
    (spaces,) = tabulate(load([out])).tables
    found = build_space_lines(spaces)
    assert found.splits == tuple(f"test {place}" for place in PLACES)
    for place in PLACES:
        staged = {one.group.method: one for one in staged_methods(found, f"test {place}")}
        assert staged.keys() == {"naive", "replay", "bank"}
        assert all(set(one.first) == {PLACES.index(place)} for one in staged.values())
        assert [policy_of(staged[name].group) for name in staged] == ["naive", "replay", "bank"]
        assert naive_of(staged["bank"], list(staged.values())) is staged["naive"]
        assert staged["bank"].metrics.forgetting in (None, 0.0)
        assert staged["bank"].deviation == pytest.approx(0, abs=1e-9)


def test_a_bank_is_loaded_and_asked_under_a_data_set(out: Path, cache: Path) -> None:
    folder = out / "bank" / "seed-0"
    space = Space.from_pretrained(folder, device="cpu", cache=cache)
    assert space.data_sets == ("studio", "field")
    rows = [{"a": [0.1, 0.2, 0.3], "b": [0.5, 0.1, -0.2, 0.3, 1.0], "text": "rain sun"}]
    shared, studio, field = (space.embed(rows, under=under) for under in (None, "studio", "field"))
    assert not torch.equal(shared.embeddings["a"], studio.embeddings["a"])
    assert not torch.equal(field.embeddings["a"], studio.embeddings["a"])
    again = space.embed(rows, under="shared")
    assert torch.equal(shared.embeddings["a"], again.embeddings["a"])
    cosine = torch.nn.functional.cosine_similarity(studio.embeddings["a"], studio.embeddings["b"])
    torch.testing.assert_close(space.scores(studio, studio, "a->b").flatten(), cosine)
    with pytest.raises(ValueError, match="queries are under studio, the gallery under field"):
        space.scores(studio, field, "a->b")
    with pytest.raises(ValueError, match="What works: studio, field, shared"):
        space.embed(rows, under="street")
    (number, *_) = rescore(folder, Request(split="test field", directions=("b->a",)))
    numbers = {(n.stage, n.split, n.direction): n.metrics for n in read_record(folder).retrieval.numbers}
    assert number.metrics == numbers["field", "test field", "b->a"]
    (bank,) = rescore(folder, Request(split="test field", directions=("b->a",), post="query_bank"))
    assert bank.bank == "val field"


def test_adapters_of_combinations_have_their_routes_on_a_stream_too(table: Path, cache: Path, tmp_path: Path) -> None:
    method = MethodConfig(
        method="pair_adapters", settings={"retrieval": SPACE, "combination": {"adapter": {"rank": 2}}}
    )
    (record,) = train(experiment_of(table, method), tmp_path, cache)
    folder = tmp_path / "pair_adapters" / "seed-0"
    assert len(read_embeddings(folder, "combinations", "val")) == 27
    assert {n.split for n in record.retrieval.agnostic} == {
        f"{kind} {place}" for kind in ("val", "test") for place in PLACES
    }
    assert Space.from_pretrained(folder, device="cpu", cache=cache).route("b->a").keys


@pytest.mark.parametrize("label", ["replay", "keeplora", "bank"])
def test_what_was_interrupted_ends_with_the_same_bits_and_another_seed_with_others(
    label: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = experiment_of(table, over_places(label))
    (whole,) = train(made, tmp_path / "whole", tmp_path / "a", checkpoint_every_s=0)
    (other,) = train(made.model_copy(update={"seeds": (1,)}), tmp_path / "other", tmp_path / "a")
    (half,) = stopped_and_repeated(
        lambda: train(made, tmp_path / "half", tmp_path / "b", checkpoint_every_s=0), monkeypatch
    )
    for stage in range(3):
        expected, found, foreign = (
            load_file(tmp_path / place / "stages" / record.stages[stage].hash / "model.safetensors")
            for record, place in ((whole, "a"), (half, "b"), (other, "a"))
        )
        assert expected.keys() == found.keys() == foreign.keys()
        assert all(torch.equal(value, found[key]) for key, value in expected.items())
        assert any(not torch.equal(value, foreign[key]) for key, value in expected.items())
    assert [n.metrics for n in whole.retrieval.numbers] == [n.metrics for n in half.retrieval.numbers]


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alone": "moon"}, "`alone` is one of the data sets street, studio, field"),
        ({"alone": "field", "policy": [{"name": "freeze"}]}, "without a policy"),
        ({"policy": [{"name": "bank", "whole": True}]}, "only combination="),
        ({"policy": [{"name": "freeze"}, {"name": "replay"}]}, "With freeze"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], words: str, table: Path, cache: Path) -> None:
    context = setting_of(table, cache).method_context()
    with pytest.raises(ValueError, match=words):
        build_method("continual_mcn", context, {"retrieval": SPACE, **settings})


def test_data_that_is_no_stream_and_names_of_no_file_are_refused(table: Path, cache: Path) -> None:
    from dataclasses import replace

    context = setting_of(table, cache).method_context()
    with pytest.raises(ValueError, match="this data is no stream"):
        build_method("continual_mcn", replace(context, data_sets=()), {})
    for names, settings in ((("a/b", "c"), {}), (("a", "shared"), {}), (("a", "b+c"), {"policy": POLICIES["bank"]})):
        with pytest.raises(ValueError, match="cannot be a stage"):
            build_method("continual_mcn", replace(context, data_sets=names), settings)
