"""Whatever was encoded once for a run is not encoded again, and that changes no bit."""

import pytest
import torch
from readings import readings, write_readings
from tiny_experiment import tiny
from torch import nn
from watched_runs import rows_seen

from awase.adapters import Bank
from awase.config import AdapterConfig, EncoderConfig, Experiment, MethodConfig, StageConfig
from awase.distributed import ALONE
from awase.evaluation import collect
from awase.fusion import build_fusion
from awase.methods import build_method
from awase.models import Classifier
from awase.runner.build import build_classifier
from awase.runner.final import probe_stage, score_run
from awase.runner.known import EVALUATION_BATCH, features_digest
from awase.runner.memory import FeatureMemory
from awase.runner.nodes import NodeRunner
from awase.runner.setting import Setting, open_setting
from awase.runner.work import look

VIT = EncoderConfig(name="small_vit", options={"dim": 12, "num_heads": 2})
SIZES = {"train": 47, "val": 71, "test": 79}


def opened(experiment: Experiment, runtime) -> Setting:
    return open_setting(experiment, runtime, 0, None, ALONE)


def with_gaps(tmp_path) -> Experiment:
    """Every seventh row lacks the one sensor, every eleventh the other, and one of them both."""
    table = write_readings(tmp_path / "t.jsonl", {"a": 1.0, "b": 1.0}, absent={"a": 7, "b": 11}, sizes=SIZES)
    return readings(table, ("a", "b"), ())


def plain(model: Classifier, split: str, setting: Setting):
    """The same pass with nothing known."""
    loader = setting.dataset.loader(split, batch_size=EVALUATION_BATCH, modalities=model.modalities)
    return collect(model, loader.epoch(0), setting.device)


def assert_same_bits(one, other) -> None:
    assert one.ids == other.ids
    assert torch.equal(one.logits, other.logits)
    for name, present in other.present.items():
        assert torch.equal(one.present[name], present)
        assert torch.equal(one.features[name], other.features[name])
    assert one.modality_logits.keys() == other.modality_logits.keys()
    assert all(torch.equal(one.modality_logits[name], value) for name, value in other.modality_logits.items())


def model_of(method: str, setting: Setting, **settings) -> tuple[Classifier, StageConfig]:
    *_, stage = build_method(method, setting.method_context(), settings)
    return build_classifier(stage, setting.spec, {}), stage


@pytest.mark.parametrize("kind", ["scenes", "vit", "gaps"])
def test_a_look_from_memory_gives_the_bits_of_a_plain_pass(kind, runtime, tmp_path):
    encoders = {"video": VIT, "audio": VIT} if kind == "vit" else {}
    setting = opened(with_gaps(tmp_path) if kind == "gaps" else tiny(encoders=encoders), runtime)
    joint, _ = model_of("joint", setting, fusion="mlp")
    ensemble, _ = model_of("ume", setting)
    for split in ("val", "test"):
        for model in (joint, ensemble, joint):  # the encoders of both have the same initial weights
            assert_same_bits(look(model, split, setting), plain(model, split, setting))


def test_the_memory_of_one_modality_alone_serves_another_model_only_where_the_batches_are_the_same(runtime, tmp_path):
    for experiment, served in ((tiny(), True), (with_gaps(tmp_path), False)):
        setting = opened(experiment, runtime)
        name = setting.dataset.modalities[0]
        alone, _ = model_of("unimodal", setting, modality=name)
        look(alone, "val", setting)
        before = setting.memory.num_bytes
        joint, _ = model_of("joint", setting)
        assert_same_bits(look(joint, "val", setting), plain(joint, "val", setting))
        tables = 1 if served else 2
        assert setting.memory.num_bytes - before == pytest.approx(tables * before, rel=0.2)


def test_an_encoder_that_has_changed_is_encoded_again(runtime):
    setting = opened(tiny(), runtime)
    model, _ = model_of("joint", setting)
    first = look(model, "val", setting)
    with torch.no_grad():
        next(model.encoders["audio"].parameters()).mul_(1.5)
    second = look(model, "val", setting)
    assert_same_bits(second, plain(model, "val", setting))
    assert torch.equal(first.features["video"], second.features["video"])
    assert not torch.equal(first.features["audio"], second.features["audio"])


def test_a_memory_without_room_changes_no_bit(runtime):
    setting = opened(tiny(), runtime)
    setting.memory.limit = 0
    model, _ = model_of("joint", setting)
    assert_same_bits(look(model, "val", setting), plain(model, "val", setting))
    assert setting.memory.num_bytes == 0


def test_modalities_that_meet_inside_the_encoders_are_not_remembered(runtime):
    setting = opened(tiny(encoders={"video": VIT, "audio": VIT}), runtime)
    model, _ = model_of("mbt", setting)
    assert_same_bits(look(model, "val", setting), plain(model, "val", setting))
    assert setting.memory.num_bytes == 0


def encoder(scale: float) -> Classifier:
    """One modality with an adapter of that scale and the same tensors for every scale."""
    layer = nn.Sequential(nn.Linear(5, 3))
    nn.init.constant_(layer[0].weight, 0.5)
    nn.init.constant_(layer[0].bias, 0.5)
    Bank.inject(layer, AdapterConfig(targets=("0",), rank=2, alpha=2 * scale), seed=1)
    return Classifier({"a": layer}, {"a": nn.Linear(3, 2)}, build_fusion("late_mean", {"a": 3}, 2, {}, False, {}))


def test_the_digest_sees_what_the_tensors_do_not_say():
    assert features_digest(encoder(1.0), "a") == features_digest(encoder(1.0), "a")
    assert features_digest(encoder(1.0), "a") != features_digest(encoder(3.0), "a")
    off = encoder(1.0)
    Bank(off.encoders["a"]).activate(None)
    assert features_digest(off, "a") != features_digest(encoder(1.0), "a")


def test_the_digest_takes_in_the_whole_model_where_modalities_meet_inside(runtime):
    setting = opened(tiny(encoders={"video": VIT, "audio": VIT}), runtime)
    digests = []
    for method in ("mbt", "joint"):
        model, _ = model_of(method, setting)
        before = features_digest(model, "video")
        with torch.no_grad():
            next(model.encoders["audio"].parameters()).mul_(1.5)
        digests.append(features_digest(model, "video") == before)
    assert digests == [False, True]


def test_a_finished_run_encodes_each_split_once(runtime, monkeypatch, tmp_path):
    """Scoring, probes, guards and an ensemble of the same encoders: 19 + 23 + 40 rows of each, once.

    The end of each stage has looked at the 19 of validation already.
    """
    setting = opened(tiny(MethodConfig(method="ume")), runtime.model_copy(update={"cache": tmp_path}))
    runner = NodeRunner(setting)
    last = runner.run(build_method("ume", setting.method_context(), {}))
    seen = rows_seen("build_classifier", monkeypatch)
    again = NodeRunner(setting)
    last = again.run(build_method("ume", setting.method_context(), {"mean": "probabilities"}))
    score_run(again, last)
    for result in again.stages.values():
        probe_stage(again, result)
    assert seen == dict.fromkeys(("video", "audio"), 23 + 40)


def test_seeds_share_a_memory_and_not_their_features(runtime):
    setting = opened(tiny(), runtime)
    other = setting.with_seed(1)
    assert other.memory is setting.memory
    assert isinstance(setting.memory, FeatureMemory)
    model, _ = model_of("joint", setting)
    look(model, "val", setting)
    before = setting.memory.num_bytes
    look(model, "val", other)
    assert setting.memory.num_bytes == 2 * before
