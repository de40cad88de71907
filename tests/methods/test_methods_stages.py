"""Every method's list of stages, for two and for three modalities."""

import pytest

from awase.config import AdapterConfig, DeriveConfig, FusionConfig, ObjectiveConfig, StageConfig, TrainConfig
from awase.experiments.comparison import every_method
from awase.methods import METHODS, MethodContext, build_method, method_settings

TWO, THREE = ("audio", "video"), ("audio", "text", "video")
JOINT = TrainConfig(epochs=7, learning_rate=1e-4)
MODALITIES = pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])


def context(modalities: tuple[str, ...]) -> MethodContext:
    """Every modality with a training of its own."""
    alone = {name: TrainConfig(epochs=11 + number) for number, name in enumerate(modalities)}
    return MethodContext(modalities, alone, JOINT, data_sets=("street", "studio"))


def check_first(nodes, modalities, extra_epochs: int = 0) -> None:
    """The nodes begin with one stage per modality that trains its encoder and a head of its own, from the start."""
    for number, (name, stage) in enumerate(zip(modalities, nodes[: len(modalities)], strict=True)):
        assert stage == StageConfig(
            name=name,
            modalities=(name,),
            train=(f"{name}.encoder", f"{name}.head"),
            training=TrainConfig(epochs=11 + number + extra_epochs),
        )
        assert stage.fusion.name == "late_mean"


@MODALITIES
def test_unimodal_is_one_stage(modalities):
    for name in modalities:
        (stage,) = build_method("unimodal", context(modalities), {"modality": name})
        assert (stage.name, stage.modalities, stage.start) == (name, (name,), ())
        assert stage.train == (f"{name}.encoder", f"{name}.head")
        assert stage.training.epochs == 11 + modalities.index(name)


def test_the_stage_of_unimodal_is_the_first_of_the_others():
    (stage,) = build_method("unimodal", context(THREE), {"modality": "text"})
    assert build_method("mmlora", context(THREE), {})[1] == stage
    (changed,) = build_method("unimodal", context(THREE), {"modality": "text", "training": {"epochs": 2}})
    assert changed == stage.model_copy(update={"training": TrainConfig(epochs=2)})


JOINT_FUSIONS = [
    ("concat", "fusion"),
    ("mlp", "fusion"),
    ("film", "fusion"),
    ("gated", "fusion"),
    ("sum", "*.head"),
    ("late_mean", "*.head"),
]


@MODALITIES
@pytest.mark.parametrize(("fusion", "head"), JOINT_FUSIONS)
def test_joint_is_one_stage_from_the_start(modalities, fusion, head):
    weight = 0.5 if fusion in ("concat", "sum", "late_mean") else 0.0  # the others have no logits per modality
    (stage,) = build_method("joint", context(modalities), {"fusion": fusion, "modality_weight": weight})
    assert stage == StageConfig(
        name="joint",
        modalities=modalities,
        train=("*.encoder", head),
        fusion=FusionConfig(name=fusion),
        objective=ObjectiveConfig(modality_weight=weight),
        training=JOINT,
    )


def test_what_begins_from_the_initial_weights_trains_as_the_experiment_says():
    longer = TrainConfig(epochs=31)
    told = MethodContext(TWO, context(TWO).unimodal, JOINT, longer)
    assert build_method("joint", told, {})[-1].training == longer
    assert build_method("joint_finetuned", told, {})[-1].training == JOINT
    assert build_method("joint", context(TWO), {})[-1].training == JOINT


@MODALITIES
@pytest.mark.parametrize("fusion", ["concat", "mlp", "film", "gated"])
def test_joint_with_own_heads_has_a_loss_on_each(modalities, fusion):
    settings = {"fusion": fusion, "modality_weight": 0.5, "own_heads": True, "training": {"epochs": 3}}
    (stage,) = build_method("joint", context(modalities), settings)
    assert stage == StageConfig(
        name="joint",
        modalities=modalities,
        train=("*.encoder", "fusion", "*.head"),
        fusion=FusionConfig(name=fusion),
        objective=ObjectiveConfig(modality_weight=0.5),
        own_heads=True,
        training=JOINT.model_copy(update={"epochs": 3}),
    )


@pytest.mark.parametrize("fusion", ["film", "gated"])
def test_joint_passes_on_which_modality_conditions(fusion):
    (stage,) = build_method("joint", context(TWO), {"fusion": fusion, "conditioning": "video"})
    assert stage.fusion == FusionConfig(name=fusion, options={"conditioning": "video"})


def test_the_multi_loss_baseline_of_the_comparison_has_own_heads():
    (method,) = [method for method in every_method(TWO) if method.title == "joint-multi-loss"]
    (stage,) = build_method(method.method, context(TWO), method.settings)
    assert (stage.fusion.name, stage.own_heads, stage.objective.modality_weight) == ("concat", True, 1.0)


@pytest.mark.parametrize("fusion", ["mlp", "film", "gated"])
def test_a_fusion_without_a_split_refuses_losses_of_single_modalities(fusion):
    message = r"no per-modality logits to weight; set own_heads=true, or use concat, sum or late_mean\.$"
    with pytest.raises(ValueError, match=message):
        build_method("joint", context(TWO), {"fusion": fusion, "modality_weight": 0.5})


def test_joint_is_a_concatenation_with_one_loss_unless_told():
    (stage,) = build_method("joint", context(TWO), {})
    assert (stage.fusion.name, stage.objective) == ("concat", ObjectiveConfig())


@MODALITIES
@pytest.mark.parametrize(("fusion", "head"), JOINT_FUSIONS)
def test_joint_finetuned_starts_from_every_modality(modalities, fusion, head):
    nodes = build_method("joint_finetuned", context(modalities), {"fusion": fusion})
    check_first(nodes, modalities)
    assert nodes[len(modalities) :] == [
        StageConfig(
            name="joint",
            modalities=modalities,
            train=("*.encoder", head),
            start=modalities,
            fusion=FusionConfig(name=fusion),
            training=JOINT,
        )
    ]


@MODALITIES
def test_frozen_linear_trains_the_fusion_alone(modalities):
    nodes = build_method("frozen_linear", context(modalities), {"training": {"epochs": 3}})
    check_first(nodes, modalities)
    assert nodes[len(modalities) :] == [
        StageConfig(
            name="linear",
            modalities=modalities,
            train=("fusion",),
            start=modalities,
            fusion=FusionConfig(name="concat"),
            training=JOINT.model_copy(update={"epochs": 3}),
        )
    ]


@MODALITIES
def test_ume_trains_nothing_after_the_modalities(modalities):
    nodes = build_method("ume", context(modalities), {})
    check_first(nodes, modalities)
    (mean,) = nodes[len(modalities) :]
    assert (mean.train, mean.start, mean.modalities) == ((), modalities, modalities)
    assert (mean.fusion.name, mean.fusion.options, mean.derived) == ("late_mean", {"of": "logits"}, {})


@MODALITIES
@pytest.mark.parametrize("mean", ["logits", "probabilities"])
def test_calibrated_and_weighted_ume_decide_on_validation(modalities, mean):
    nodes = build_method("ume", context(modalities), {"mean": mean, "calibrated": True, "weighted": True})
    check_first(nodes, modalities)
    temperatures, weights, ensemble = nodes[len(modalities) :]
    assert temperatures == DeriveConfig(name="temperatures", function="temperatures", stages=modalities)
    options = {"of": mean, "calibrated": True}
    assert weights == DeriveConfig(name="weights", function="ensemble_weights", stages=modalities, options=options)
    assert ensemble.derived == {"temperatures": "temperatures", "weights": "weights"}
    assert ensemble.fusion.options == {"of": mean}


def test_each_decision_can_be_had_alone():
    nodes = build_method("ume", context(TWO), {"weighted": True})
    assert [node.name for node in nodes] == ["audio", "video", "weights", "ensemble"]
    assert nodes[2].options == {"of": "logits", "calibrated": False}
    nodes = build_method("ume", context(TWO), {"calibrated": True})
    assert nodes[-1].derived == {"temperatures": "temperatures"}


@MODALITIES
def test_longer_ume_gives_the_first_stages_the_epochs_of_the_joint_one(modalities):
    nodes = build_method("ume", context(modalities), {"longer": True})
    check_first(nodes, modalities, extra_epochs=7)
    assert len(nodes) == len(modalities) + 1


@MODALITIES
def test_ume_full_trains_the_whole_mean(modalities):
    nodes = build_method("ume_full", context(modalities), {})
    check_first(nodes, modalities)
    assert nodes[len(modalities) :] == [
        StageConfig(
            name="joint",
            modalities=modalities,
            train=("*.encoder", "*.head"),
            start=modalities,
            fusion=FusionConfig(name="late_mean"),
            training=JOINT,
        )
    ]


@MODALITIES
def test_mmlora_trains_adapters_and_heads_on_the_mean(modalities):
    nodes = build_method("mmlora", context(modalities), {})
    check_first(nodes, modalities)
    assert nodes[len(modalities) :] == [
        StageConfig(
            name="mmlora",
            modalities=modalities,
            train=(*(f"{name}.adapter" for name in modalities), "*.head"),
            start=modalities,
            fusion=FusionConfig(name="late_mean"),
            adapters=dict.fromkeys(modalities, AdapterConfig(rank=4)),
            training=JOINT,
        )
    ]


def test_mmlora_passes_its_settings_to_the_adapters():
    settings = {"rank": 2, "alpha": 16.0, "targets": ["q", "v"], "dropout": 0.1, "last_layers": 3}
    stage = build_method("mmlora", context(TWO), {**settings, "training": {"batch_size": 5}})[-1]
    assert set(stage.adapters) == set(TWO)
    assert stage.adapters["audio"] == AdapterConfig(**settings)
    assert stage.training == JOINT.model_copy(update={"batch_size": 5})


def test_mmlora_in_some_modalities_leaves_the_others_frozen():
    stage = build_method("mmlora", context(THREE), {"modalities": ["text"]})[-1]
    assert stage.train == ("text.adapter", "*.head")
    assert (set(stage.adapters), stage.modalities) == ({"text"}, THREE)


def test_mmlora_with_a_rank_per_modality():
    stage = build_method("mmlora", context(THREE), {"rank": {"audio": 2, "video": 0}})[-1]
    assert stage.train == ("audio.adapter", "*.head")
    assert stage.adapters == {"audio": AdapterConfig(rank=2)}


def test_the_controls_of_mmlora():
    heads_only = build_method("mmlora", context(TWO), {"rank": 0})[-1]
    assert (heads_only.train, heads_only.adapters) == (("*.head",), {})
    adapters_only = build_method("mmlora", context(TWO), {"heads": False})[-1]
    assert adapters_only.train == ("audio.adapter", "video.adapter")
    own_losses = build_method("mmlora", context(TWO), {"modality_losses": True})[-1]
    assert own_losses.objective == ObjectiveConfig(fused_weight=0.0, modality_weight=1.0)
    assert own_losses.train == build_method("mmlora", context(TWO), {})[-1].train
    assert build_method("mmlora", context(TWO), {})[-1].objective == ObjectiveConfig()


PAIR = {"modalities": ("audio", "video")}
SETTINGS = {
    "unimodal": {"modality": "audio"},
    "mmbt": {"text": "audio", "other": "video"},
    "pmf": PAIR,
    "pmf_l": PAIR,
    "pair_heads": {"pair": "audio+video"},
}
MEASURED = ("gradient_blending", "gradient_blending_online")
"""Methods whose measuring stages train as the last one does, so that `training` changes all of them."""


@MODALITIES
@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_has_sound_wiring(name, modalities):
    nodes = build_method(name, context(modalities), SETTINGS.get(name, {}))
    known: list[str] = []
    for node in nodes:
        needed = node.stages if isinstance(node, DeriveConfig) else (*node.start, *node.teachers, *node.only_if)
        assert set(needed) <= set(known)
        assert node.name not in known
        known.append(node.name)
    assert isinstance(nodes[-1], StageConfig)
    assert build_method(name, context(modalities), SETTINGS.get(name, {})) == nodes
    if "training" in method_settings(name):
        changed = build_method(name, context(modalities), {**SETTINGS.get(name, {}), "training": {"epochs": 2}})
        assert changed[-1].training.epochs == 2
        assert changed[:-1] == nodes[:-1] or name in MEASURED


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("mmlaro", {}, ["'mmlaro'", *METHODS]),
        ("mmlora", {"ranks": 4}, ["ranks", "rank, alpha, targets, modalities, dropout"]),
        ("ume", {"context": 1}, ["context", "mean, calibrated, weighted, longer"]),
        ("mmlora", {"modalities": ["smell"]}, ["smell", "audio, video"]),
        ("unimodal", {"modality": "smell"}, ["smell", "audio, video"]),
        ("unimodal", {}, ["modality"]),
        ("mmlora", {"rank": {"smell": 4}}, ["smell", "audio, video"]),
        ("mmlora", {"rank": {"audio": 4}, "modalities": ["video"]}, ["audio", "video"]),
        ("mmlora", {"rank": -1}, ["0 (no adapter) or more", "-1"]),
        ("mmlora", {"rank": "many"}, ["rank", "'many'", "integer"]),
        ("mmlora", {"rank": 0, "heads": False}, ["trains nothing", "heads=True"]),
        ("mmlora", {"dropout": 2.0}, ["dropout", "less than 1"]),
        (
            "joint",
            {"fusion": "flim"},
            ["fusion", "'flim'", "'concat', 'sum', 'late_mean', 'mlp', 'film' or 'gated'"],
        ),
        ("joint", {"fusion": "sum", "own_heads": True, "modality_weight": 1.0}, ["'sum'", "one head per modality"]),
        ("joint", {"own_heads": True}, ["own losses alone", "modality_weight above 0"]),
        ("joint", {"conditioning": "audio"}, ["'concat'", "film and gated"]),
        ("joint", {"fusion": "film", "conditioning": "smell"}, ["smell", "audio, video"]),
        ("mmpareto", {"fusion": "sum"}, ["'sum'", "'concat', 'mlp', 'film' or 'gated'"]),
        ("gradient_blending_online", {"super_epoch": 0}, ["1 or more epochs", "0"]),
        ("joint", {"fusion": "mlp", "modality_weight": 0.5}, ["'mlp'", "concat, sum or late_mean"]),
        ("joint", {"training": {"epoch": 3}}, ["epoch", *TrainConfig.model_fields]),
        ("joint", {"training": {"epochs": 0}}, ["epochs", "0"]),
        ("joint", {"training": {"optimiser": "lion"}}, ["optimiser", "'adamw' or 'sgd'"]),
        ("ume", {"mean": "votes"}, ["mean", "'logits' or 'probabilities'"]),
        ("ume", {"weighted": "maybe"}, ["weighted", "boolean"]),
    ],
)
def test_wrong_requests_are_sentences(name, settings, words):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        build_method(name, context(TWO), settings)
    assert type(caught.value) is ValueError
    missing = [word for word in words if word not in str(caught.value)]
    assert missing == [], str(caught.value)


def test_method_settings_are_the_parameters():
    assert method_settings("unimodal") == ("modality", "training")
    assert "context" not in {setting for name in METHODS for setting in method_settings(name)}
