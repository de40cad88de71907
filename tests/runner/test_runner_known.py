"""Features of frozen encoders are computed once, and that changes no number."""

import pytest
import torch
from tiny_experiment import tiny
from watched_runs import rows_seen

from awase.config import Crop, MethodConfig
from awase.distributed import ALONE
from awase.methods import build_method
from awase.runner.known import KnownFeatures, of_stage
from awase.runner.nodes import NodeRunner
from awase.runner.setting import open_setting

MMLORA = MethodConfig(method="mmlora", settings={"rank": 2})
SETTINGS = {"rank": 2, "modalities": ("audio",)}


def still(*methods, **changes):
    """The tiny comparison with inputs that are the same in every epoch."""
    experiment = tiny(*methods, **changes)
    inputs = {
        name: setting.model_copy(update={"augment": (), "corrupt": ()})
        for name, setting in experiment.data.inputs.items()
    }
    return experiment.model_copy(update={"data": experiment.data.model_copy(update={"inputs": inputs})})


def passes(runtime, experiment, monkeypatch, settings=SETTINGS):
    """(the result of the last stage, modality -> rows its encoder saw in that stage)."""
    setting = open_setting(experiment, runtime, 0, None, ALONE)
    runner = NodeRunner(setting)
    *first, last = build_method("mmlora", setting.method_context(), settings)
    runner.run(first)
    seen = rows_seen("build_model", monkeypatch)
    return runner.run([last]), seen


def test_adapters_in_one_modality_cost_one_encoder(runtime, monkeypatch, tmp_path):
    own = runtime.model_copy(update={"cache": tmp_path})
    experiment = still(MMLORA)
    _, seen = passes(own, experiment, monkeypatch)
    train, val, epochs = 40, 19, experiment.joint.epochs
    # The end of the stage and the guard of the audio stage see the same encoder: validation once more for both.
    assert seen["audio"] == epochs * (train + val) + val
    # Its own stage has encoded validation already, and no probe has asked for train.
    assert seen["video"] == train


def test_known_features_give_the_same_curve_and_weights(runtime, monkeypatch, tmp_path):
    experiment = still(MMLORA)
    with_known, _ = passes(runtime.model_copy(update={"cache": tmp_path / "a"}), experiment, monkeypatch)
    monkeypatch.undo()

    def none(self, model, names, setting):
        original(self, model, dict.fromkeys(names, frozenset()), setting)

    original = KnownFeatures.__init__
    monkeypatch.setattr(KnownFeatures, "__init__", none)
    without, seen = passes(runtime.model_copy(update={"cache": tmp_path / "b"}), experiment, monkeypatch)
    assert seen["video"] > 40 * 2
    # An encoder gives a row the same features in a batch of 64 as in one of 16 only up to float32 rounding.
    for name, value in with_known.tensors.items():
        torch.testing.assert_close(value, without.tensors[name], rtol=1e-4, atol=1e-5)
    for one, other in zip(with_known.facts["curve"], without.facts["curve"], strict=True):
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)


@pytest.mark.parametrize("what", ["augment", "mixup", "all adapted"])
def test_what_changes_from_epoch_to_epoch_is_not_known_in_training(runtime, what):
    experiment = still(MMLORA)
    settings = dict(SETTINGS)
    if what == "augment":
        video = experiment.data.inputs["video"].model_copy(update={"augment": (Crop(padding=1),)})
        data = experiment.data.model_copy(update={"inputs": {**experiment.data.inputs, "video": video}})
        experiment = experiment.model_copy(update={"data": data})
    elif what == "mixup":
        settings["training"] = {"mixup": 0.3}
    else:
        settings["modalities"] = ("audio", "video")
    setting = open_setting(experiment, runtime, 0, None, ALONE)
    *_, stage = build_method("mmlora", setting.method_context(), settings)
    from awase.runner.build import build_classifier

    model = build_classifier(stage, setting.spec, {})
    trained = ("audio.adapter", "audio.head") if what != "all adapted" else ("audio.adapter", "video.adapter")
    known = of_stage(model, stage, trained, setting)
    assert known.names["train"] == set()
    assert known.names["val"] == (set() if what == "all adapted" else {"video"})
    assert known.missing("train") == ("video", "audio")
