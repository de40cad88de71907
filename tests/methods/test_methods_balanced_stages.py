"""Stages of UMT, of both kinds of G-Blending, of MMPareto and of AGM, for two and for three modalities."""

import pytest

from awase.config import (
    BalancingConfig,
    DeriveConfig,
    FusionConfig,
    ObjectiveConfig,
    StageConfig,
    TrainConfig,
)
from awase.methods import MethodContext, build_method

TWO, THREE = ("audio", "video"), ("audio", "text", "video")
JOINT = TrainConfig(epochs=7, learning_rate=1e-4, early_stopping=2, warmup_epochs=1.0)
MODALITIES = pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])


def context(modalities: tuple[str, ...]) -> MethodContext:
    alone = {name: TrainConfig(epochs=11 + number) for number, name in enumerate(modalities)}
    return MethodContext(modalities, alone, JOINT)


def measuring(modalities: tuple[str, ...], training: TrainConfig, start: tuple[str, ...] = (), mark: str = ""):
    """The measuring stages and the decision of one round of G-Blending."""
    training = training.model_copy(update={"select": "last", "early_stopping": None})
    joint = StageConfig(
        name=f"measure-joint{mark}",
        modalities=modalities,
        train=("*.encoder", "fusion"),
        start=start,
        fusion=FusionConfig(name="concat"),
        training=training,
        measure_ends=True,
    )
    alone = [
        StageConfig(
            name=f"measure-{name}{mark}",
            modalities=(name,),
            train=(f"{name}.encoder", f"{name}.head"),
            start=start,
            fusion=FusionConfig(name="late_mean"),
            training=training,
            measure_ends=True,
        )
        for name in modalities
    ]
    names = {name: f"measure-{name}{mark}" for name in modalities}
    decision = DeriveConfig(
        name=f"weights{mark}",
        function="blend_weights",
        stages=(f"measure-joint{mark}", *names.values()),
        options={"joint": f"measure-joint{mark}", "modalities": names},
    )
    return [joint, *alone, decision]


def blended(modalities, training: TrainConfig, start: tuple[str, ...] = (), mark: str = "") -> StageConfig:
    return StageConfig(
        name=f"blended{mark}",
        modalities=modalities,
        train=("*.encoder", "fusion", "*.head"),
        start=start,
        fusion=FusionConfig(name="concat"),
        own_heads=True,
        derived={"objective": f"weights{mark}"},
        training=training,
    )


@MODALITIES
def test_offline_blending_measures_every_head_once(modalities):
    nodes = build_method("gradient_blending", context(modalities), {})
    assert nodes == [*measuring(modalities, JOINT), blended(modalities, JOINT)]


@MODALITIES
def test_training_of_offline_blending_is_that_of_what_is_measured_too(modalities):
    nodes = build_method("gradient_blending", context(modalities), {"training": {"epochs": 3}})
    changed = JOINT.model_copy(update={"epochs": 3})
    assert nodes == [*measuring(modalities, changed), blended(modalities, changed)]


@MODALITIES
def test_online_blending_measures_in_every_super_epoch_from_the_model_as_it_is(modalities):
    nodes = build_method("gradient_blending_online", context(modalities), {"super_epoch": 3})
    constant = {"schedule": "constant", "warmup_epochs": 0.0}
    rounds = [JOINT.model_copy(update={**constant, "epochs": epochs}) for epochs in (3, 3, 1)]
    to_the_end = {"select": "last", "early_stopping": None}
    assert nodes == [
        *measuring(modalities, rounds[0], (), "-1"),
        blended(modalities, rounds[0].model_copy(update=to_the_end), (), "-1"),
        *measuring(modalities, rounds[1], ("blended-1",), "-2"),
        blended(modalities, rounds[1].model_copy(update=to_the_end), ("blended-1",), "-2"),
        *measuring(modalities, rounds[2], ("blended-2",), "-3"),
        blended(modalities, rounds[2], ("blended-2",), "-3"),
    ]
    assert sum(node.training.epochs for node in nodes if node.name.startswith("blended")) == JOINT.epochs


def test_a_super_epoch_has_ten_epochs_unless_told():
    nodes = build_method("gradient_blending_online", context(TWO), {"training": {"epochs": 20}})
    assert [node.training.epochs for node in nodes if node.name.startswith("blended")] == [10, 10]


def test_online_blending_takes_the_schedule_it_is_given():
    settings = {"training": {"schedule": "cosine", "warmup_epochs": 0.5}}
    nodes = build_method("gradient_blending_online", context(TWO), settings)
    stages = [node for node in nodes if isinstance(node, StageConfig)]
    assert {(stage.training.schedule, stage.training.warmup_epochs) for stage in stages} == {("cosine", 0.5)}


def unimodal(modalities: tuple[str, ...]) -> list[StageConfig]:
    return [build_method("unimodal", context(modalities), {"modality": name})[0] for name in modalities]


@MODALITIES
def test_umt_distils_the_unimodal_stages_into_a_joint_one_from_the_start(modalities):
    nodes = build_method("umt", context(modalities), {"distillation": 3.0, "training": {"epochs": 2}})
    assert nodes == [
        *unimodal(modalities),
        StageConfig(
            name="umt",
            modalities=modalities,
            train=("*.encoder", "fusion"),
            fusion=FusionConfig(name="concat"),
            objective=ObjectiveConfig(distillation=3.0),
            teachers=modalities,
            training=JOINT.model_copy(update={"epochs": 2}),
        ),
    ]
    assert build_method("umt", context(modalities), {})[-1].objective.distillation == 10.0


@MODALITIES
def test_umt_chooses_by_a_linear_classifier_against_the_ensemble(modalities):
    nodes = build_method("umt", context(modalities), {"choose": True, "training": {"epochs": 2}})
    linear = build_method("frozen_linear", context(modalities), {})[-1]
    ensemble = build_method("ume", context(modalities), {})[-1].model_copy(update={"name": "ume"})
    decision = DeriveConfig(
        name="choice",
        function="better_of",
        stages=("linear", "ume"),
        options={"choices": {"umt": "linear", "ume": "ume"}, "default": "ume"},
    )
    umt = build_method("umt", context(modalities), {"training": {"epochs": 2}})[-1]
    assert nodes[: len(modalities)] == unimodal(modalities)
    assert nodes[len(modalities) :] == [
        linear,
        ensemble,
        decision,
        umt.model_copy(update={"only_if": {"choice": "umt"}}),
    ]


@MODALITIES
def test_mmpareto_has_a_head_beside_the_fusion_for_each_modality(modalities):
    settings = {"gamma": 2.0, "fusion": "mlp", "training": {"epochs": 2}}
    assert build_method("mmpareto", context(modalities), settings) == [
        StageConfig(
            name="joint",
            modalities=modalities,
            train=("*.encoder", "fusion", "*.head"),
            fusion=FusionConfig(name="mlp"),
            balancing=BalancingConfig(name="mmpareto", options={"gamma": 2.0}),
            own_heads=True,
            training=JOINT.model_copy(update={"epochs": 2}),
        )
    ]
    (stage,) = build_method("mmpareto", context(modalities), {})
    assert (stage.fusion.name, stage.balancing.options) == ("concat", {"gamma": 1.5})


@MODALITIES
@pytest.mark.parametrize(("fusion", "part"), [("concat", "fusion"), ("sum", "*.head")])
def test_agm_is_joint_training_with_a_rule(modalities, fusion, part):
    settings = {"alpha": 0.5, "fusion": fusion, "training": {"epochs": 2}}
    assert build_method("agm", context(modalities), settings) == [
        StageConfig(
            name="joint",
            modalities=modalities,
            train=("*.encoder", part),
            fusion=FusionConfig(name=fusion),
            balancing=BalancingConfig(name="agm", options={"alpha": 0.5}),
            training=JOINT.model_copy(update={"epochs": 2}),
        )
    ]
    (stage,) = build_method("agm", context(modalities), {})
    assert (stage.fusion.name, stage.balancing.options) == ("concat", {"alpha": 1.5})
