"""The tables with their real encoders: shapes, and the parameter counts that are known for them (random weights)."""

from pathlib import Path

import pytest
import torch
from official_sets import SETS

from awase.config import EncoderConfig, Runtime, StageConfig
from awase.distributed import ALONE
from awase.methods import build_method
from awase.runner.build import build_classifier
from awase.runner.setting import open_setting
from awase.runner.suite import resolve_experiments
from awase.training.parts import freeze_except, match_parts

BERT = '{"name": "transformers", "options": {"architecture": "bert"}}'
"""BERT-base from its configuration: its weights' configuration would have to be fetched."""
BERT_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
VIT_QV, BERT_QV, RESNET_CONV = 4 * 36_864, 4 * 36_864, 4 * 35_712
"""Adapter parameters at rank 4 (3-channel stem or not: the stem has no adapter)."""

CASES = {
    "ave-resnet18": ("mmlora.audio_visual", 2 * RESNET_CONV, 2 * 11.17e6, 512),
    "ave-vit_b": ("mmlora.audio_visual", 2 * VIT_QV, 2 * 85.5e6, 768),
    "food101-vit_b-bert_b": ("mmlora.vision_language", VIT_QV + BERT_QV, 85.8e6 + 109.5e6, 768),
    "ucf101-vit_b-resnet18": ("mmlora.rgb_flow", VIT_QV + RESNET_CONV, 85.8e6 + 11.2e6, None),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    for name in ("ave", "food101", "ucf101"):
        SETS[name](root)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_mmlora_on_the_real_encoders_has_the_known_numbers_of_parameters(name, home, tmp_path):
    suite, adapters, total, width = CASES[name]
    untrained = [
        f"encoders.{m}.pretrained=false"
        for m in {"audio_visual": ("video", "audio"), "rgb_flow": ("video", "flow"), "vision_language": ("image",)}[
            suite.partition(".")[2]
        ]
    ]
    text = [f"encoders.text={BERT}"] if "bert" in name else []
    found = resolve_experiments(suite, [*untrained, *text], root=home, work=tmp_path / "work")
    experiment = next(one for one in found if one.name == name)
    fold = experiment.folds[0] if experiment.folds else None
    setting = open_setting(experiment, Runtime(cache=tmp_path / "cache", device="cpu"), 0, fold, ALONE)
    *_, stage = build_method("mmlora", setting.method_context(), {})
    assert isinstance(stage, StageConfig)
    model = build_classifier(stage, setting.spec, {})
    trained = match_parts(stage.train, model.parts())
    count = sum(p.numel() for p in freeze_except(model, trained).values())
    classes = len(setting.spec.classes)
    heads = sum(encoder.dim * classes + classes for encoder in model.encoders.values())
    assert count == adapters + heads
    bare = sum(p.numel() for p in model.parameters()) - count
    assert bare == pytest.approx(total, rel=0.01)
    if width is not None:
        assert {encoder.dim for encoder in model.encoders.values()} == {width}
    batch = next(setting.dataset.loader("test", batch_size=2).epoch(0))
    with torch.no_grad():
        output = model.eval()(batch)
    assert output.logits.shape == (2, classes)
    assert bool(output.logits.isfinite().all())


def pmf_parameters(width: int, classes: int, context: int) -> int:
    """What PMF trains: in two blocks and two directions a translation through half the width, 4 query and 4
    query-context prompts and `context` fusion-context prompts; a linear head per tower.
    """
    half = width // 2
    translation = width * half + half + half * width + width
    return 2 * 2 * (translation + (8 + context) * width) + 2 * (width * classes + classes)


def test_the_published_number_of_pmf_leaves_out_what_its_code_never_trains():
    """2.544 M on ViT-B and BERT-base, 101 classes: its code does not find the fusion-context prompts."""
    assert round(pmf_parameters(768, 101, context=0) / 1e6, 3) == 2.544


@pytest.mark.slow
def test_the_large_pair_of_pmf_has_the_known_numbers_of_parameters(home, tmp_path):
    """ViT-L and BERT-large on the device meta, which has shapes and no memory."""
    text = EncoderConfig(name="transformers", options={"architecture": "bert", "config": BERT_LARGE})
    changes = ["encoders.image.pretrained=false", f"encoders.text={text.model_dump_json()}"]
    found = resolve_experiments("mmlora.vision_language", changes, root=home, work=tmp_path / "work")
    experiment = next(one for one in found if one.name == "food101-vit_l-bert_l")
    assert [method.method for method in experiment.methods] == ["pmf_l"]
    setting = open_setting(experiment, Runtime(cache=tmp_path / "cache", device="cpu"), 0, None, ALONE)
    (stage,) = build_method("pmf_l", setting.method_context(), {})
    assert isinstance(stage, StageConfig)
    with torch.device("meta"):
        model = build_classifier(stage, setting.spec, {})
    trained = match_parts(stage.train, model.parts())
    count = sum(p.numel() for p in freeze_except(model, trained).values())
    assert count == pmf_parameters(1024, len(setting.spec.classes), context=4)
    bare = sum(p.numel() for p in model.parameters()) - count
    assert bare == pytest.approx(303.3e6 + 335.1e6, rel=0.01)
    assert {encoder.dim for encoder in model.encoders.values()} == {1024}
