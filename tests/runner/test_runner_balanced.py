"""Methods with teachers, measured ends, own heads and rules on a tiny comparison, through the whole runner."""

import json

import pytest
import torch
from tiny_experiment import tiny

from awase.config import EncoderConfig, Experiment, MethodConfig, ObjectiveConfig
from awase.distributed import ALONE
from awase.methods import build_method
from awase.records import read_record
from awase.runner.build import build_classifier
from awase.runner.nodes import NodeRunner
from awase.runner.run import run_experiment
from awase.runner.setting import Setting, open_setting
from awase.training.decisions import MEASURED


def setting_of(runtime, experiment: Experiment | None = None) -> Setting:
    return open_setting(experiment or tiny(), runtime, 0, None, ALONE)


def ran(setting: Setting, method: str, **settings: object):
    runner = NodeRunner(setting)
    return runner, runner.run(build_method(method, setting.method_context(), settings))


@pytest.mark.parametrize("method", ["agm", "gradient_blending", "mmpareto"])
def test_a_whole_run_ends_in_a_record_with_every_condition(runtime, tmp_path, method):
    (record,) = run_experiment(tiny(MethodConfig(method=method), probe=False), runtime, tmp_path)
    assert record.status == "done"
    assert {m.condition for m in record.metrics} >= {"full", "without:audio", "missing:0.5"}
    assert read_record(tmp_path / method / "seed-0") == record


@pytest.mark.parametrize("fusion", ["film", "gated"])
def test_joint_training_runs_with_fusions_of_two(runtime, tmp_path, fusion):
    settings = {"fusion": fusion, "own_heads": True, "modality_weight": 1.0, "conditioning": "video"}
    (record,) = run_experiment(tiny(MethodConfig(method="joint", settings=settings), probe=False), runtime, tmp_path)
    assert {"modality:audio", "modality:video"} <= {m.condition for m in record.metrics}


# ---- UMT -----------------------------------------------------------------------------------------------------------


def umt_work(setting: Setting, distillation: float = 10.0):
    """The UMT stage before its first step: runner, model and work."""
    runner = NodeRunner(setting)
    *first, stage = build_method("umt", setting.method_context(), {"distillation": distillation})
    runner.run(first)
    model = build_classifier(stage, setting.spec, {})
    parts = tuple(name for name in model.parts())
    return runner, model, runner._work(stage, model, parts, {})


def test_the_teachers_stay_as_they_were_and_the_student_begins_anew(runtime):
    setting = setting_of(runtime)
    _, model, work = umt_work(setting)
    for name, teacher in work.forward.teachers.items():
        assert not any(parameter.requires_grad for parameter in teacher.parameters())
        assert not teacher.training
        own = {key: value for key, value in model.state_dict().items() if key.startswith(f"encoders.{name}.")}
        assert any(not torch.equal(value, teacher.state_dict()[key]) for key, value in own.items())
        before = {key: value.clone() for key, value in teacher.state_dict().items()}
        batch = next(iter(work.batches.epoch(0)))
        work.set_modes()
        work.forward(batch).total.sum().backward()
        assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
        assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_gradient_of_distillation_is_that_of_the_formula(runtime):
    setting = setting_of(runtime)
    runner, model, work = umt_work(setting, 7.0)
    batch = next(iter(work.batches.epoch(0)))
    model.eval()
    work.forward(batch).total.mean().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    output = model(batch)
    loss = torch.nn.functional.cross_entropy(output.logits, batch.targets)
    for name in model.modalities:
        teacher = runner.model(runner.stages[name])
        taught = teacher.encoders[name](batch.inputs[name]).pooled
        own, terms = output.encoded[name].pooled, []
        for row in range(len(batch)):
            terms += [(own[row, d] - taught[row, d]) ** 2 for d in range(own.shape[1])]
        loss = loss + 7.0 * torch.stack(terms).mean()
    loss.backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert set(found) == set(expected)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)  # sums in another order


@pytest.mark.parametrize(("linear", "expected"), [(0.9, "umt"), (0.1, "ume")])
def test_the_choice_decides_which_stage_is_the_last(runtime, monkeypatch, linear, expected):
    better_of = MEASURED["better_of"]

    def told(facts, selection, **options):
        told = {"linear": {"val": {"accuracy": linear}}, "ume": {"val": {"accuracy": 0.5}}}
        assert set(facts) == set(told)
        return better_of(told, selection, **options)

    monkeypatch.setitem(MEASURED, "better_of", told)
    runner, last = ran(setting_of(runtime), "umt", choose=True)
    assert last.stage.name == expected
    assert ("umt" in runner.stages) == (expected == "umt")
    assert runner.decisions["choice"] == {"choice": expected, "validation": {"umt": linear, "ume": 0.5}}


def test_the_choice_is_made_on_what_the_stages_have_on_validation(runtime, tmp_path):
    method = MethodConfig(method="umt", settings={"choose": True})
    (record,) = run_experiment(tiny(method, probe=False), runtime, tmp_path)
    choice = record.derived["choice"]
    names = [stage.name for stage in record.stages]
    better = choice["validation"]["umt"] > choice["validation"]["ume"]
    assert names == ["video", "audio", "linear", "ume", *(["umt"] if better else [])]
    assert choice["choice"] == ("umt" if better else "ume")


def test_teachers_of_another_size_are_refused(runtime):
    setting = setting_of(runtime)
    _, _, work = umt_work(setting)
    small = setting_of(runtime, tiny(encoders={"audio": EncoderConfig(name="small_cnn", options={"dim": 24})}))
    *_, stage = build_method("umt", small.method_context(), {})
    model = build_classifier(stage, small.spec, {})
    work.forward.model = model
    with pytest.raises(ValueError, match=r"'audio'.*features of the same size\.$"):
        work.forward(next(iter(work.batches.epoch(0))))


# ---- G-Blending ----------------------------------------------------------------------------------------------------


def test_offline_weights_come_from_measured_ends_and_reach_the_objective(runtime):
    setting = setting_of(runtime)
    runner, last = ran(setting, "gradient_blending")
    weights = runner.decisions["weights"]
    shares = {}
    for key in ("joint", "video", "audio"):
        facts = runner.stages[f"measure-{key}"].facts
        assert facts["end"]["val"] == pytest.approx(facts["val"]["loss"])
        g = facts["begin"]["val"] - facts["end"]["val"]
        o = facts["end"]["val"] - facts["end"]["train"] - facts["begin"]["val"] + facts["begin"]["train"]
        shares[key] = max(g, 0.0) / max(abs(o), 1e-3) ** 2
    total = sum(shares.values())
    wanted = {key: share / total if total else 1 / 3 for key, share in shares.items()}
    assert weights["fused_weight"] == pytest.approx(wanted["joint"])
    assert weights["modality_weights"] == pytest.approx({name: wanted[name] for name in ("video", "audio")})
    assert last.derived == {"objective": weights}
    work = runner._work(last.stage, runner.model(last), ("fusion",), last.derived)
    assert work.forward.objective == ObjectiveConfig(
        fused_weight=weights["fused_weight"], modality_weights=weights["modality_weights"]
    )


def test_what_is_measured_begins_with_the_weights_of_what_is_blended(runtime):
    """Offline from the start; online, in the second super-epoch, from the blended model of the first."""
    setting = setting_of(runtime)
    runner = NodeRunner(setting)
    nodes = build_method("gradient_blending_online", setting.method_context(), {"super_epoch": 1})
    runner.run(nodes[: nodes.index(next(node for node in nodes if node.name == "weights-2"))])
    current = runner.stages["blended-1"].tensors
    for node in nodes[len(nodes) // 2 : -2]:
        model = build_classifier(node, setting.spec, {})
        inherited = runner._inherit(model, node)
        assert inherited == set(model.state_dict())
        assert all(torch.equal(value, current[key]) for key, value in model.state_dict().items())


def test_online_blending_trains_on_from_the_last_super_epoch(runtime, tmp_path):
    method = MethodConfig(method="gradient_blending_online", settings={"super_epoch": 1})
    (record,) = run_experiment(tiny(method, probe=False), runtime, tmp_path)
    names = [stage.name for stage in record.stages]
    heads = ("joint", "video", "audio")
    assert names == [name for k in (1, 2) for name in (*(f"measure-{head}-{k}" for head in heads), f"blended-{k}")]
    assert {"weights-1", "weights-2"} <= set(record.derived)
    assert [len(stage.curve) for stage in record.stages] == [1] * 8
    json.dumps(record.derived)


# ---- rules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["mmpareto", "agm"])
def test_a_rule_changes_what_the_encoders_learn(runtime, method):
    setting = setting_of(runtime)
    _, last = ran(setting, method)
    settings = {"own_heads": True, "modality_weight": 1.0} if method == "mmpareto" else {}
    _, plain = ran(setting, "joint", **settings)
    names = [name for name in last.tensors if name.startswith("encoders.")]
    assert any(not torch.equal(last.tensors[name], plain.tensors[name]) for name in names)
    assert set(last.tensors) == set(plain.tensors)


def test_mmpareto_goes_back_twice_through_recomputed_activations(runtime):
    setting = setting_of(runtime)
    _, plain = ran(setting, "mmpareto", training={"epochs": 1})
    _, recomputed = ran(setting, "mmpareto", training={"epochs": 1, "checkpoint_activations": True})
    assert recomputed.hash != plain.hash
    for name, value in plain.tensors.items():
        torch.testing.assert_close(recomputed.tensors[name], value, rtol=1e-4, atol=1e-5)  # sums in another order
