"""The stages of the methods that are joint training under a rule: OGM-GE, PMR, OPM, MLA."""

import pytest

from awase.config import BalancingConfig, FusionConfig, StageConfig, TrainConfig
from awase.methods import MethodContext, build_method

THREE = ("audio", "text", "video")
JOINT = TrainConfig(epochs=7, learning_rate=1e-4)
CONTEXT = MethodContext(THREE, {name: TrainConfig() for name in THREE}, JOINT)
DEFAULTS = {
    "ogm_ge": {"alpha": 0.8, "noise": True, "scope": "auto", "several": "min", "start_epoch": 0, "end_epoch": 50},
    "pmr": {
        "alpha": 1.0,
        "momentum": 0.2,
        "start_epoch": 0,
        "end_epoch": 100,
        "soft": False,
        "entropy_weight": 0.1,
        "entropy_epochs": 5,
    },
    "opm": {"q_base": 0.5, "lam": 0.5, "p_exe": 0.7, "start_epoch": 6},
    "mla": {"project": True},
}


def stage_of(name: str, settings: dict) -> StageConfig:
    (stage,) = build_method(name, CONTEXT, settings)
    return stage


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_each_is_one_stage_from_the_start_under_its_rule(name):
    assert stage_of(name, {}) == StageConfig(
        name="joint",
        modalities=THREE,
        train=("*.encoder", "fusion"),
        fusion=FusionConfig(name="shared_head" if name == "mla" else "concat"),
        balancing=BalancingConfig(name=name, options=DEFAULTS[name]),
        training=JOINT,
    )


@pytest.mark.parametrize("name", ["ogm_ge", "opm", "pmr"])
def test_the_sum_trains_heads(name):
    stage = stage_of(name, {"fusion": "sum"})
    assert (stage.train, stage.fusion.name) == (("*.encoder", "*.head"), "sum")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (
            "ogm_ge",
            {"alpha": 0.1, "noise": False, "scope": "conv", "several": "mean", "start_epoch": 1, "end_epoch": 9},
        ),
        ("pmr", {"alpha": 2.0, "momentum": 0.0, "soft": True, "entropy_weight": 0.0, "entropy_epochs": 3}),
        ("opm", {"q_base": 0.4, "lam": 1.0, "p_exe": 1.0, "start_epoch": 0}),
        ("mla", {"project": False}),
    ],
)
def test_settings_reach_the_rule_and_the_training(name, settings):
    stage = stage_of(name, {**settings, "training": {"epochs": 2}})
    assert stage.balancing.options == {**DEFAULTS[name], **settings}
    assert stage.training == JOINT.model_copy(update={"epochs": 2})


def test_mla_combines_as_asked():
    assert stage_of("mla", {"combine": "mean"}).fusion == FusionConfig(name="shared_head", options={"combine": "mean"})


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("ogm_ge", {"fusion": "mlp"}, ["fusion", "'mlp'", "'concat' or 'sum'"]),
        ("ogm_ge", {"scope": "heads"}, ["scope", "'heads'"]),
        ("opm", {"q": 0.5}, ["no setting q", "q_base, lam, p_exe, start_epoch"]),
        ("mla", {"combine": "votes"}, ["combine", "'entropy' or 'mean'"]),
    ],
)
def test_wrong_requests_are_sentences(name, settings, words):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        build_method(name, CONTEXT, settings)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
