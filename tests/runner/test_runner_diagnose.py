"""Whole diagnoses: small runs made to be balanced, or to ignore a sensor, and what is said of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from readings import readings, write_readings

from awase.config import DataConfig, Experiment, MethodConfig, Runtime, ScenesConfig, TrainConfig
from awase.data import Dataset, inferred
from awase.models import Classifier
from awase.records import DIAGNOSIS_NAME, Diagnosis, read_record, write_record
from awase.runner.diagnose import diagnose_run
from awase.runner.run import run_experiment

JOINT, UME = MethodConfig(method="joint"), MethodConfig(method="ume")
MLP = MethodConfig(method="joint", label="mlp", settings={"fusion": "mlp"})
SENSORS = ("left", "right")
NOISE = {"left": 1.2, "right": 1.2}


def kinds(found: Diagnosis) -> dict[str | None, set[str]]:
    said: dict[str | None, set[str]] = {}
    for finding in found.findings:
        said.setdefault(finding.modality, set()).add(finding.kind)
    return said


def metric(folder: Path, condition: str, split: str = "test", name: str = "accuracy") -> float:
    metrics = read_record(folder).metrics
    return next(m.value for m in metrics if (m.split, m.name, m.condition) == (split, name, condition))


@pytest.fixture(scope="module")
def balanced(tmp_path_factory, cache) -> Path:
    """`joint`, `ume` and `mlp` on two sensors alike; every seventh row lacks the left one."""
    folder = tmp_path_factory.mktemp("balanced")
    table = write_readings(folder / "readings.jsonl", NOISE, absent={"left": 7})
    experiment = readings(table, SENSORS, (JOINT, UME, MLP), probe=True)
    run_experiment(experiment, Runtime(cache=cache, device="cpu", threads=1), folder / "out")
    return folder / "out"


def test_nothing_is_wrong_with_two_sensors_alike(balanced, cache):
    found = diagnose_run(balanced / "joint" / "seed-0", device="cpu", cache=cache)
    assert found.verdict.startswith("Nothing wrong was found."), found.findings
    assert kinds(found) == {"left": {"used"}, "right": {"used"}}
    assert (found.split, found.metric, found.additive, found.left_out) == ("val", "accuracy", True, 0)
    assert found.whole.value == pytest.approx(metric(balanced / "joint" / "seed-0", "full", "val"))
    assert {point.stage for point in found.balance} == {"joint"}
    assert set(found.balance[-1].ratios) == set(SENSORS)
    assert set(found.balance[-1].gradient_norms) == set(SENSORS)


def test_a_sensor_that_joint_training_did_not_learn_is_named(tmp_path, runtime):
    table = write_readings(tmp_path / "readings.jsonl", {"left": 0.4, "right": 0.9}, scale={"right": 0.01})
    experiment = readings(table, SENSORS, (JOINT,), epochs=5)
    run_experiment(experiment, runtime, tmp_path / "out")
    found = diagnose_run(tmp_path / "out" / "joint" / "seed-0", device="cpu", cache=runtime.cache)
    assert kinds(found)["right"] == {"ignored", "under_trained"}
    assert found.verdict == "Right is ignored and under-trained."
    assert found.modalities["right"].own_from == "only"
    assert found.balance[-1].ratios["right"] < 0.7


def test_test_agrees_with_the_numbers_of_the_record(balanced, cache):
    for label in ("joint", "ume", "mlp"):
        folder = balanced / label / "seed-0"
        found = diagnose_run(folder, "test", device="cpu", cache=cache)
        assert found.whole.value == pytest.approx(metric(folder, "full"))
        assert found.whole_loss.value == pytest.approx(metric(folder, "full", name="loss"), abs=1e-6)
        probes = read_record(folder).stages[-1].probes
        for name, evidence in found.modalities.items():
            assert evidence.probe.value == pytest.approx(probes[name])
            assert evidence.only.value == pytest.approx(metric(folder, f"only:{name}"))
        # `right` is in every row, so the samples are those of the record
        full, without = (metric(folder, condition) for condition in ("full", "without:right"))
        rows = found.modalities["left"].only.count
        assert rows < found.samples == found.modalities["right"].only.count
        constant = found.constant.value * found.samples - _constant_with(found, "left") * rows
        assert found.modalities["right"].gain.value == pytest.approx(full - (without * rows + constant) / found.samples)


def _constant_with(found: Diagnosis, name: str) -> float:
    """The accuracy of the constant prediction on the samples that have the modality."""
    return found.modalities[name].own.value - found.modalities[name].own_above_chance.value


def test_shapley_values_share_what_the_model_knows_above_chance(balanced, cache):
    found = diagnose_run(balanced / "joint" / "seed-0", device="cpu", cache=cache)
    shares = [evidence.shapley.value for evidence in found.modalities.values()]
    assert sum(shares) == pytest.approx(found.above_chance.value)
    losses = [evidence.shapley_loss.value for evidence in found.modalities.values()]
    assert sum(losses) == pytest.approx(found.constant_loss.value - found.whole_loss.value)


def test_a_model_of_one_modality_comes_from_the_run_or_from_another_run_with_the_same_settings(balanced, cache):
    ume = diagnose_run(balanced / "ume" / "seed-0", device="cpu", cache=cache).modalities
    joint = diagnose_run(balanced / "joint" / "seed-0", device="cpu", cache=cache).modalities
    for name in SENSORS:
        assert (ume[name].own_from, joint[name].own_from) == ("stage", "store")
        assert joint[name].own == ume[name].own == ume[name].only
        assert joint[name].own_probe == ume[name].own_probe == ume[name].probe
        assert ume[name].probe_change.value == 0


def test_a_fusion_without_a_split_has_no_logits_inside(balanced, cache):
    found = diagnose_run(balanced / "mlp" / "seed-0", device="cpu", cache=cache)
    assert not found.additive
    assert all(evidence.inside == evidence.only for evidence in found.modalities.values())
    assert all(point.ratios == {} and len(point.gradient_norms) == 2 for point in found.balance)
    assert any("no logits per modality" in note for note in found.notes)


def test_modalities_that_meet_inside_are_encoded_again_without_what_is_left_out(balanced, cache, monkeypatch):
    folder = balanced / "joint" / "seed-0"
    apart = diagnose_run(folder, device="cpu", cache=cache)
    looks = []
    loader = Dataset.loader
    monkeypatch.setattr(Classifier, "mixes", property(lambda self: True))
    monkeypatch.setattr(Dataset, "loader", lambda self, split, **k: (looks.append(split), loader(self, split, **k))[1])
    mixed = diagnose_run(folder, device="cpu", cache=cache, again=True)
    assert mixed.modalities == apart.modalities
    assert looks.count("val") == 3 + 2  # whole, either left out, and the two models of one modality


def test_a_diagnosis_is_kept_and_a_look_at_test_is_recorded_once(balanced, cache, monkeypatch):
    folder = balanced / "ume" / "seed-0"
    before = read_record(folder).test_looks
    first = diagnose_run(folder, "test", device="cpu", cache=cache, again=True)
    assert [look["by"] for look in read_record(folder).test_looks[len(before) :]] == ["diagnose"]
    val = diagnose_run(folder, device="cpu", cache=cache)
    assert set(json.loads((folder / DIAGNOSIS_NAME).read_text())["by_split"]) == {"val", "test"}
    with monkeypatch.context() as patch:
        patch.setattr("awase.runner.diagnose.reopen", lambda *a, **k: pytest.fail("measured again"))
        assert diagnose_run(folder, "test", cache=cache) == first
        assert diagnose_run(folder, cache=cache) == val
    assert len(read_record(folder).test_looks) == len(before) + 1
    monkeypatch.setattr("awase.runner.diagnose.REVISION", 0)
    assert diagnose_run(folder, device="cpu", cache=cache).revision == 0


def test_several_labels_are_diagnosed_by_micro_f1(tmp_path, runtime):
    table = write_readings(tmp_path / "readings.jsonl", {"left": 0.8, "right": 0.8}, many=True)
    experiment = readings(table, SENSORS, (JOINT,), data={"label_separator": "|"}, selection={"metric": "f1_micro"})
    run_experiment(experiment, runtime, tmp_path / "out")
    folder = tmp_path / "out" / "joint" / "seed-0"
    found = diagnose_run(folder, device="cpu", cache=runtime.cache)
    assert found.metric == "f1_micro"
    assert found.whole.value == pytest.approx(metric(folder, "full", "val", "f1_micro"))
    assert any("micro F1" in number for finding in found.findings for number in finding.numbers)


def test_one_modality_has_nothing_to_be_compared_with(tmp_path, runtime):
    table = write_readings(tmp_path / "readings.jsonl", NOISE)
    alone = MethodConfig(method="unimodal", label="left", settings={"modality": "left"})
    run_experiment(readings(table, SENSORS, (alone,)), runtime, tmp_path / "out")
    found = diagnose_run(tmp_path / "out" / "left" / "seed-0", device="cpu", cache=runtime.cache)
    assert "nothing to compare" in found.verdict
    assert list(found.modalities) == ["left"]
    assert found.modalities["left"].own == found.whole
    assert found.modalities["left"].gain is None


def test_a_fold_is_diagnosed_on_its_own_rows(tmp_path, runtime):
    table = write_readings(tmp_path / "readings.jsonl", NOISE, sizes={"train": 97, "val": 53})
    data = {"fold_column": "fold", "fold": 0, "group_column": "group"}
    experiment = readings(table, SENSORS, (JOINT,), data=data, folds=(1,), epochs=5)
    run_experiment(experiment, runtime, tmp_path / "out")
    folder = tmp_path / "out" / "joint" / "seed-0" / "fold-1"
    found = diagnose_run(folder, "test", device="cpu", cache=runtime.cache)
    assert (found.fold, found.whole.value) == (1, pytest.approx(metric(folder, "full")))


def test_more_than_four_modalities_have_gains_but_no_shapley_values(tmp_path, runtime):
    names = ("a", "b", "c", "d", "e")
    table = write_readings(tmp_path / "readings.jsonl", dict.fromkeys(names, 1.5))
    run_experiment(readings(table, names, (JOINT,), epochs=3), runtime, tmp_path / "out")
    found = diagnose_run(tmp_path / "out" / "joint" / "seed-0", device="cpu", cache=runtime.cache)
    assert all(part.shapley is None and part.gain is not None for part in found.modalities.values())
    assert found.interactions == {}
    assert any("up to 4, and this run has 5" in note for note in found.notes)


def test_what_cannot_be_diagnosed_is_refused(balanced, cache, tmp_path):
    folder = balanced / "joint" / "seed-0"
    with pytest.raises(ValueError, match=r"val or on test; 'train' is neither"):
        diagnose_run(folder, "train", cache=cache)
    with pytest.raises(FileNotFoundError, match=r"record\.json"):
        diagnose_run(tmp_path, cache=cache)
    failed = read_record(folder).model_copy(update={"status": "failed", "notes": ("the loss is NaN",)})
    write_record(tmp_path, failed)
    with pytest.raises(ValueError, match="the loss is NaN"):
        diagnose_run(tmp_path, cache=cache)


def test_intervals_draw_groups_together(tmp_path, runtime):
    """Rows of a group are copies of each other: the interval is as wide as with one row of each."""
    table = write_readings(tmp_path / "readings.jsonl", NOISE, sizes={"train": 97, "val": 60, "test": 31})
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    copies = [{**row, "id": f"{row['id']}-{k}"} for row in rows for k in range(1 + 3 * (row["split"] == "val"))]
    copies = [{**row, "group": row["id"].partition("-")[0]} for row in copies]
    table.write_text("".join(json.dumps(row) + "\n" for row in copies), encoding="utf-8")
    run_experiment(
        readings(table, SENSORS, (JOINT,), epochs=5, data={"group_column": "group"}), runtime, tmp_path / "out"
    )
    found = diagnose_run(tmp_path / "out" / "joint" / "seed-0", device="cpu", cache=runtime.cache)
    assert found.samples == 240
    width, value = found.whole.high - found.whole.low, found.whole.value
    expected = 2 * 1.96 * np.sqrt(value * (1 - value) / 60)
    assert width == pytest.approx(expected, rel=0.25)


@pytest.mark.slow
def test_scenes_whose_sound_is_noise_beside_a_clean_picture(runtime, tmp_path):
    """The picture tells the label at once, so joint training ends before much is learned from the sound."""
    found = _scenes(runtime, tmp_path, {"audio": 3.0}, epochs=5)
    assert "ignored" in kinds(found)["audio"]
    assert kinds(found)["video"] == {"used"}
    assert found.verdict.startswith("Audio is ignored")


@pytest.mark.slow
def test_scenes_in_balance(runtime, tmp_path):
    """Each tells the label on about two clips of three, and both are used: the setting of the demo."""
    found = _scenes(runtime, tmp_path, {"video": 16.0, "audio": 3.0}, epochs=10)
    assert found.verdict.startswith("Nothing wrong was found"), found.findings
    assert {name: "used" in kinds(found)[name] for name in ("video", "audio")} == {"video": True, "audio": True}


def _scenes(runtime: Runtime, folder: Path, noise: dict[str, float], epochs: int) -> Diagnosis:
    scenes = ScenesConfig(num_train=320, num_val=150, num_test=40, noise=noise)
    data = inferred(DataConfig(dataset="scenes", scenes=scenes))
    data = data.model_copy(update={"inputs": {name: data.inputs[name] for name in ("video", "audio")}})
    training = TrainConfig(epochs=epochs, learning_rate=2e-3)
    experiment = Experiment(
        name="d", data=data, methods=(JOINT,), unimodal=training, joint=training, seeds=(0,), missing_rates=(),
        probe=False,
    )  # fmt: skip
    run_experiment(experiment, runtime, folder)
    return diagnose_run(folder / "joint" / "seed-0", device="cpu", cache=runtime.cache)
