"""Whole runs on a tiny comparison: stages shared, frozen parts frozen, the test split read once and last."""

import json

import numpy as np
import pytest
import torch
from tiny_experiment import tiny

from awase.config import EncoderConfig, MethodConfig
from awase.data import Dataset
from awase.distributed import ALONE
from awase.methods import build_method
from awase.records import read_record
from awase.runner.build import build_classifier
from awase.runner.nodes import NodeRunner
from awase.runner.run import run_experiment
from awase.runner.setting import open_setting
from awase.runner.work import look
from awase.statistics import read_predictions

UME = MethodConfig(method="ume")
MMLORA = MethodConfig(method="mmlora", settings={"rank": 2})


def metric(record, condition="full", name="accuracy", split="test"):
    return next(m.value for m in record.metrics if (m.split, m.name, m.condition) == (split, name, condition))


def test_a_second_method_reuses_the_stages_of_the_first(runtime, tmp_path):
    first, second = run_experiment(tiny(UME, MMLORA), runtime, tmp_path)
    assert [stage.name for stage in second.stages] == ["video", "audio", "mmlora"]
    assert [stage.reused for stage in second.stages[:2]] == [True, True]
    assert [stage.hash for stage in first.stages[:2]] == [stage.hash for stage in second.stages[:2]]
    assert len({stage.hash for stage in (*first.stages, *second.stages)}) == 4


def test_the_same_command_again_does_nothing_and_gives_the_same_record(runtime, tmp_path, monkeypatch):
    (record,) = run_experiment(tiny(UME), runtime, tmp_path)
    monkeypatch.setattr(NodeRunner, "run", lambda *a: pytest.fail("a finished run was run again"))
    assert run_experiment(tiny(UME), runtime, tmp_path) == [record]
    assert read_record(tmp_path / "ume" / "seed-0") == record


@pytest.mark.parametrize(
    "encoders",
    [
        {},
        {
            "video": EncoderConfig(name="timm", options={"model": "resnet10t"}),
            "audio": EncoderConfig(
                name="timm",
                options={"model": "vit_tiny_patch16_224", "model_options": {"depth": 2}},
            ),
        },
    ],
    ids=["small", "resnet-and-vit"],
)
def test_mmlora_before_its_first_step_is_ume_to_the_bit(runtime, encoders):
    setting = open_setting(tiny(UME, MMLORA, encoders=encoders), runtime, 0, None, ALONE)
    runner = NodeRunner(setting)
    ume = runner.run(build_method("ume", setting.method_context(), {}))
    *_, stage = build_method("mmlora", setting.method_context(), {"rank": 2})
    model = build_classifier(stage, setting.spec, {})
    runner._inherit(model, stage)
    assert any(".lora." in name for name in model.state_dict())
    before = look(runner.model(ume), "val", setting)
    after = look(model, "val", setting)
    assert torch.equal(before.logits, after.logits)
    assert all(torch.equal(before.features[name], after.features[name]) for name in before.features)


def test_what_a_stage_does_not_train_stays_as_it_was_and_what_it_trains_moves(runtime):
    setting = open_setting(tiny(MMLORA), runtime, 0, None, ALONE)
    runner = NodeRunner(setting)
    last = runner.run(build_method("mmlora", setting.method_context(), {"rank": 2, "modalities": ("audio",)}))
    moved = set()
    for name in ("video", "audio"):
        for key, value in runner.stages[name].tensors.items():
            if not torch.equal(value, last.tensors[key]):
                moved.add(key)
    assert moved == {"heads.video.weight", "heads.video.bias", "heads.audio.weight", "heads.audio.bias"}
    adapters = {key for key in last.tensors if ".lora." in key}
    assert adapters
    assert all(key.startswith("encoders.audio.") for key in adapters)
    assert any(last.tensors[key].abs().sum() > 0 for key in adapters if key.endswith("B"))


def test_the_test_split_is_read_only_after_the_last_stage(runtime, tmp_path, monkeypatch):
    looks = []
    loader, train = Dataset.loader, NodeRunner._train
    monkeypatch.setattr(Dataset, "loader", lambda self, split, **k: (looks.append(split), loader(self, split, **k))[1])
    monkeypatch.setattr(NodeRunner, "_train", lambda self, *a: (looks.append("stage"), train(self, *a))[1])
    run_experiment(tiny(MMLORA), runtime.model_copy(update={"cache": tmp_path / "cache"}), tmp_path / "out")
    assert "test" in looks
    assert "stage" not in looks[looks.index("test") :]


def test_every_condition_is_measured_and_predictions_agree_with_the_record(runtime, tmp_path):
    (record,) = run_experiment(tiny(UME), runtime, tmp_path)
    conditions = {m.condition for m in record.metrics if m.split == "test"}
    expected = {"full", "missing:0.5"}
    expected |= {f"{kind}:{name}" for kind in ("modality", "only", "without") for name in ("video", "audio")}
    assert conditions == expected
    predictions = read_predictions(tmp_path / "ume" / "seed-0").of_split("test")
    assert np.mean(predictions.predicted == predictions.targets) == metric(record)
    mean = (predictions.modality_logits["video"] + predictions.modality_logits["audio"]) / 2
    np.testing.assert_allclose(mean, predictions.logits, atol=1e-6)
    assert metric(record, "only:audio") == metric(record, "without:video") == metric(record, "modality:audio")


def test_validation_chooses_among_candidates_and_the_number_tried_is_in_the_record(runtime, tmp_path):
    candidates = ({"training.learning_rate": 1e-4}, {"training.learning_rate": 1e-2}, {"rank": 1})
    method = MMLORA.model_copy(update={"candidates": candidates})
    (record,) = run_experiment(tiny(method), runtime, tmp_path)
    tried = record.chosen["tried"]
    assert record.settings_tried == 3
    assert [one["changes"] for one in tried] == list(candidates)
    best = max(one["validation"] for one in tried)
    assert record.chosen["changes"] == next(one["changes"] for one in tried if one["validation"] == best)


def test_guards_measure_earlier_tasks_again(runtime, tmp_path):
    (record,) = run_experiment(tiny(MMLORA), runtime, tmp_path)
    guards = record.stages[-1].guards
    assert set(guards) == {"video", "audio"}
    assert metric(record, "modality:audio", split="val") == guards["audio"]["after"]


def test_decisions_are_recorded_and_used(runtime, tmp_path):
    method = MethodConfig(method="ume", label="weighted", settings={"weighted": True, "calibrated": True})
    (record,) = run_experiment(tiny(method), runtime, tmp_path)
    assert set(record.derived) == {"temperatures", "weights", "threshold"}
    predictions = read_predictions(tmp_path / "weighted" / "seed-0").of_split("test")
    weights, scales = record.derived["weights"], record.derived["temperatures"]
    parts = [weights[m] * predictions.modality_logits[m] / scales[m] for m in ("video", "audio")]
    np.testing.assert_allclose(sum(parts) / sum(weights.values()), predictions.logits, rtol=1e-4, atol=1e-5)


def test_curves_are_written_once_per_epoch(runtime, tmp_path):
    run_experiment(tiny(UME), runtime, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "ume/seed-0/metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in lines] == [
        ("video", 0),
        ("video", 1),
        ("audio", 0),
        ("audio", 1),
    ]
    assert list((tmp_path / "ume/seed-0/tensorboard").glob("events.*"))
