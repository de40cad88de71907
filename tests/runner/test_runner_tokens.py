"""Whole runs of the methods whose modalities meet inside the encoders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_experiment import tiny

from awase.config import DataConfig, EncoderConfig, Experiment, MethodConfig, Runtime, ScenesConfig, TrainConfig
from awase.data import inferred
from awase.distributed import ALONE
from awase.encoders import build_encoder
from awase.evaluation import restrict
from awase.methods import build_method
from awase.runner.again import evaluate_run
from awase.runner.build import build_classifier
from awase.runner.check import check_request
from awase.runner.loaded import Model
from awase.runner.nodes import NodeRunner
from awase.runner.run import run_experiment
from awase.runner.setting import open_setting
from awase.runner.work import look
from awase.statistics import read_predictions

SIZES = {"dim": 12, "num_heads": 2}
VIT = EncoderConfig(name="small_vit", options=SIZES)
WORDS = EncoderConfig(name="small_transformer", options={**SIZES, "vocabulary_size": 97})
MBT = MethodConfig(method="mbt", settings={"training": {"learning_rate": 1e-2}})
PMF = MethodConfig(method="pmf", settings={"training": {"learning_rate": 1e-2}})
MMBT = MethodConfig(method="mmbt", settings={"warmup": [1, 1], "num_places": 2, "other": "video"})


def experiment(*methods: MethodConfig, **encoders: EncoderConfig) -> Experiment:
    return tiny(*methods, encoders={"video": VIT, "audio": VIT, **encoders}, probe=False)


def with_text(*methods: MethodConfig) -> Experiment:
    """Video and text of the scenes."""
    data = inferred(DataConfig(dataset="scenes", scenes=ScenesConfig(num_train=40, num_val=19, num_test=23)))
    training = TrainConfig(epochs=1, batch_size=16)
    return Experiment(
        name="tiny",
        data=data.model_copy(update={"inputs": {name: data.inputs[name] for name in ("video", "text")}}),
        encoders={"video": VIT, "text": WORDS},
        methods=methods,
        unimodal=training,
        joint=training,
        seeds=(0,),
        missing_rates=(0.5,),
        probe=False,
    )


def metric(record, condition="full", name="accuracy"):
    return next(m.value for m in record.metrics if (m.split, m.name, m.condition) == ("test", name, condition))


def assert_moved(runner: NodeRunner, last, parts: set[str]) -> None:
    """Exactly these parts are not what they were at the beginning."""
    before = build_classifier(last.stage, runner.setting.spec, {})
    for part, tensors in before.parts().items():
        same = all(torch.equal(value, last.tensors[name]) for name, value in tensors.items())
        assert same is (part not in parts), part


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        (MBT, {"video.encoder", "audio.encoder", "fusion"}),
        (PMF, {"fusion", "video.head", "audio.head"}),
    ],
    ids=["mbt", "pmf"],
)
def test_the_parts_that_learn_move_and_no_others(runtime, method, parts):
    setting = open_setting(experiment(method), runtime, 0, None, ALONE)
    runner = NodeRunner(setting)
    last = runner.run(build_method(method.method, setting.method_context(), method.settings))
    assert_moved(runner, last, parts)
    assert set(last.facts["trained_parts"]) == parts


def test_pmf_on_towers_of_the_unimodal_stages_leaves_them_as_they_were(runtime):
    setting = open_setting(experiment(PMF), runtime, 0, None, ALONE)
    runner = NodeRunner(setting)
    last = runner.run(build_method("pmf", setting.method_context(), {"towers": "unimodal"}))
    for name in ("video", "audio"):
        for key, value in runner.stages[name].tensors.items():
            assert torch.equal(value, last.tensors[key]) is key.startswith("encoders.")


@pytest.mark.parametrize("method", [MBT, PMF], ids=["mbt", "pmf"])
def test_without_a_modality_the_others_are_encoded_again(runtime, tmp_path, method):
    (record,) = run_experiment(experiment(method), runtime, tmp_path)
    folder = tmp_path / method.method / "seed-0"
    model = Model.from_pretrained(folder, device="cpu", cache=runtime.cache)
    setting = open_setting(experiment(method), runtime, 0, None, ALONE)
    found = {}
    for without in ((), ("audio",)):
        keep = dict.fromkeys(without, False)
        logits, targets = [], []
        for batch in setting.dataset.loader("test", batch_size=7).epoch(0):
            seen, _ = restrict(batch, keep)
            with torch.no_grad():
                logits.append(model.classifier(seen).logits)
            targets.append(batch.targets)
        found[without] = torch.cat(logits)
        right = (found[without].argmax(1) == torch.cat(targets)).double().mean()
        assert evaluate_run(folder, "test", without, device="cpu", cache=runtime.cache)["accuracy"] == float(right)
        assert metric(record, "without:audio" if without else "full") == float(right)
    assert not torch.allclose(found[()], found[("audio",)])
    # What the video says with the audio beside it is not what it says alone.
    val = look(model.classifier, "test", setting)
    alone = look(model.classifier, "test", setting, keep={"audio": False})
    assert not torch.equal(val.features["video"], alone.features["video"])
    predictions = read_predictions(folder).of_split("test")
    np.testing.assert_allclose(predictions.logits, found[()].numpy(), atol=1e-5)


@pytest.mark.parametrize("method", [MBT, PMF], ids=["mbt", "pmf"])
def test_a_saved_model_says_the_same(runtime, tmp_path, method):
    run_experiment(experiment(method), runtime, tmp_path / "runs")
    model = Model.from_pretrained(tmp_path / "runs" / method.method / "seed-0", device="cpu", cache=runtime.cache)
    model.save_pretrained(tmp_path / "saved")
    again = Model.from_pretrained(tmp_path / "saved", device="cpu", cache=tmp_path / "elsewhere")
    state = again.classifier.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.classifier.state_dict().items())
    setting = open_setting(experiment(method), runtime, 0, None, ALONE)
    first, second = (look(one.classifier, "test", setting).logits for one in (model, again))
    assert torch.equal(first, second)


def test_frozen_pretrained_towers_are_found_again(runtime, tmp_path):
    """No stage trains them, so the store holds nothing of them: they come from where they were pretrained."""
    encoders = {}
    setting = open_setting(experiment(PMF), runtime, 0, None, ALONE)
    for seed, (name, shape) in enumerate((n, setting.dataset.input_shape(n)) for n in ("video", "audio")):
        weights = build_encoder(VIT, kind=name, input_shape=shape, seed=31 + seed).state_dict()
        (tmp_path / name).mkdir()
        save_file(weights, tmp_path / name / "model.safetensors")
        encoders[name] = VIT.model_copy(update={"pretrained": str(tmp_path / name)})
    run_experiment(experiment(PMF, **encoders), runtime, tmp_path / "runs")
    folder = tmp_path / "runs" / "pmf" / "seed-0"
    model = Model.from_pretrained(folder, device="cpu", cache=runtime.cache)
    assert torch.equal(model.classifier.state_dict()["encoders.audio.network.position"], weights["network.position"])
    predictions = read_predictions(folder).of_split("test")
    found = look(model.classifier, "test", setting).logits
    np.testing.assert_allclose(predictions.logits, found.numpy(), atol=1e-5)


def test_mmbt_thaws_its_encoders_one_after_the_other(runtime, tmp_path):
    setting = open_setting(with_text(MMBT), runtime, 0, None, ALONE)
    runner = NodeRunner(setting)
    last = runner.run(build_method("mmbt", setting.method_context(), MMBT.settings))
    assert_moved(runner, runner.stages["warmup-fusion"], {"fusion"})
    assert_moved(runner, runner.stages["warmup-video"], {"fusion", "video.encoder"})
    assert_moved(runner, last, {"fusion", "video.encoder", "text.encoder"})


@pytest.mark.parametrize("method", [MMBT, MBT, PMF], ids=["mmbt", "mbt", "pmf"])
def test_video_and_text_run_to_the_end(runtime, tmp_path, method):
    (record,) = run_experiment(with_text(method), runtime, tmp_path)
    conditions = {m.condition for m in record.metrics if m.split == "test"}
    assert {"full", "only:video", "only:text", "without:video", "without:text", "missing:0.5"} <= conditions
    assert ("modality:text" in conditions) is (method is not MMBT)
    assert record.stages[-1].trainable_parameters > 0
    model = Model.from_pretrained(tmp_path / method.method / "seed-0", device="cpu", cache=runtime.cache)
    setting = open_setting(with_text(method), runtime, 0, None, ALONE)
    predictions = read_predictions(tmp_path / method.method / "seed-0").of_split("test")
    np.testing.assert_allclose(predictions.logits, look(model.classifier, "test", setting).logits.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("method", "encoders", "said"),
    [
        (
            MBT,
            {"audio": EncoderConfig(name="small_cnn")},
            "'audio' is no sequence of tokens. Encoders that can: small_vit",
        ),
        (
            MBT,
            {"audio": EncoderConfig(name="small_vit", options={**SIZES, "depth": 3})},
            "12, 2 blocks; audio: width 12, 3",
        ),
        (MethodConfig(method="pmf_l"), {}, "'video' is 12 wide, and towers of width 1024"),
        (MethodConfig(method="mmbt", settings={"text": "audio"}), {}, "one text and one other modality"),
    ],
    ids=["convolutional", "deeper", "small", "no-text"],
)
def test_encoders_that_do_not_fit_are_refused_before_anything_is_trained(
    runtime: Runtime, tmp_path: Path, method, encoders, said
):
    setting = open_setting(experiment(method, **encoders), runtime, 0, None, ALONE)
    with pytest.raises(ValueError, match=said):
        check_request(setting)
