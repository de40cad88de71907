"""The stages of the methods whose modalities meet inside the encoders."""

import pytest

from awase.config import FusionConfig, StageConfig, TrainConfig
from awase.methods import MethodContext, build_method

JOINT = TrainConfig(epochs=7, learning_rate=1e-4)
PROMPTS = {"num_fused": 2, "num_query": 4, "num_query_context": 4, "num_fusion_context": 4}


def context(*modalities: str) -> MethodContext:
    alone = {name: TrainConfig(epochs=11 + number) for number, name in enumerate(modalities)}
    return MethodContext(modalities, alone, JOINT)


@pytest.mark.parametrize("modalities", [("audio", "video"), ("audio", "text", "video")])
def test_mbt_trains_everything_in_one_stage(modalities):
    settings = {"num_bottlenecks": 5, "fusion_layer": 3, "head": "gap", "zero_init": False}
    for given, options in (
        ({}, {"num_bottlenecks": 4, "fusion_layer": None, "head": "token", "zero_init": True}),
        (settings, settings),
    ):
        assert build_method("mbt", context(*modalities), given) == [
            StageConfig(
                name="mbt",
                modalities=modalities,
                train=("*.encoder", "fusion"),
                fusion=FusionConfig(name="bottleneck", options=options),
                training=JOINT,
            )
        ]


def test_mmbt_thaws_the_picture_and_then_the_text():
    nodes = build_method("mmbt", context("image", "text"), {"training": {"epochs": 9}})
    assert [(node.name, node.start, node.train, node.training.epochs) for node in nodes] == [
        ("warmup-fusion", (), ("fusion",), 3),
        ("warmup-image", ("warmup-fusion",), ("fusion", "image.encoder"), 2),
        ("mmbt", ("warmup-image",), ("fusion", "*.encoder"), 9),
    ]
    assert {node.modalities for node in nodes} == {("image", "text")}
    assert {node.training.learning_rate for node in nodes} == {1e-4}
    fusion = FusionConfig(name="mmbt", options={"num_places": 3, "special_ids": None})
    assert all(node.fusion == fusion for node in nodes)


@pytest.mark.parametrize(
    ("warmup", "names"),
    [
        ((0, 0), ["mmbt"]),
        ((0, 2), ["warmup-image", "mmbt"]),
        ((3, 0), ["warmup-fusion", "mmbt"]),
    ],
)
def test_a_warmup_of_no_epochs_is_no_stage(warmup, names):
    nodes = build_method("mmbt", context("image", "text"), {"warmup": warmup})
    assert [node.name for node in nodes] == names
    assert [node.start for node in nodes] == [(), *((name,) for name in names[:-1])]


def test_mmbt_passes_its_settings_on():
    settings = {"num_places": 4, "special_ids": [101, 102], "warmup_training": {"learning_rate": 1e-2, "epochs": 40}}
    first, *_, last = build_method(
        "mmbt", context("caption", "photo", "sound"), {**settings, "text": "caption", "other": "photo"}
    )
    assert first.fusion.options == {"num_places": 4, "special_ids": [101, 102]}
    assert (first.training.learning_rate, first.training.epochs, last.training) == (1e-2, 3, JOINT)
    assert last.modalities == ("caption", "photo")


def test_pmf_trains_the_fusion_and_the_heads():
    for name, width in (("pmf", None), ("pmf_l", 1024)):
        assert build_method(name, context("image", "text"), {}) == [
            StageConfig(
                name="pmf",
                modalities=("image", "text"),
                train=("fusion", "*.head"),
                fusion=FusionConfig(name="prompts", options={**PROMPTS, "width": width}),
                training=JOINT,
            )
        ]


@pytest.mark.parametrize("name", ["pmf", "pmf_l"])
def test_pmf_passes_its_settings_on(name):
    options = {"num_fused": 1, "num_query": 2, "num_query_context": 3, "num_fusion_context": 0, "width": 768}
    settings = {**options, "modalities": ["video", "audio"], "towers": "unimodal", "training": {"epochs": 2}}
    audio, video, stage = build_method(name, context("audio", "text", "video"), settings)
    (alone,) = build_method("unimodal", context("audio", "text", "video"), {"modality": "video"})
    assert (audio.name, video) == ("audio", alone)
    assert (stage.modalities, stage.start) == (("audio", "video"), ("audio", "video"))
    assert (stage.fusion.options, stage.training.epochs) == (options, 2)


@pytest.mark.parametrize(
    ("name", "modalities", "settings", "words"),
    [
        ("pmf", ("audio", "text", "video"), {}, ["two modalities", "audio, text, video", "`modalities`"]),
        ("pmf_l", ("audio",), {}, ["two modalities", "audio"]),
        ("pmf", ("audio", "video"), {"modalities": ["audio", "audio"]}, ["two modalities"]),
        ("pmf", ("audio", "video"), {"modalities": ["audio", "smell"]}, ["smell", "audio, video"]),
        ("pmf", ("audio", "video"), {"towers": "random"}, ["towers", "'pretrained' or 'unimodal'"]),
        ("mbt", ("audio", "video"), {"head": "mean"}, ["head", "'token' or 'gap'"]),
        ("mmbt", ("audio", "video"), {}, ["text", "audio, video"]),
        ("mmbt", ("audio", "text", "video"), {}, ["one other modality", "`other`"]),
        ("mmbt", ("audio", "text"), {"other": "text"}, ["one other modality"]),
        ("mmbt", ("audio", "text"), {"warmup": [3, -1]}, ["0 (no such stage) or more", "(3, -1)"]),
        ("mmbt", ("text",), {}, ["one other modality"]),
    ],
)
def test_wrong_requests_are_sentences(name, modalities, settings, words):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        build_method(name, context(*modalities), settings)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
