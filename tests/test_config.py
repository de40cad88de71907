"""The configuration: immutable, checked when it is built, the same after a trip through JSON."""

import pytest
from pydantic import TypeAdapter, ValidationError

from awase import config
from awase.config import (
    AdapterConfig,
    DataConfig,
    EncoderConfig,
    Experiment,
    Flip,
    Frozen,
    Input,
    MethodConfig,
    Noise,
    ObjectiveConfig,
    Runtime,
    ScenesConfig,
    StageConfig,
    TrainConfig,
    Transform,
    VideoInput,
)

KINDS = [kind for kind in vars(config).values() if isinstance(kind, type) and issubclass(kind, Frozen)]
EXPERIMENT = Experiment(
    name="clips",
    data=DataConfig(inputs={"video": VideoInput(column="v", augment=(Flip(), Noise()))}),
    methods=(MethodConfig(method="ume"), MethodConfig(method="mmlora", label="mmlora-r4", settings={"rank": 4})),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_configuration_refuses_unknown_keys_and_changes(kind):
    assert kind.model_config["frozen"]
    with pytest.raises(ValidationError, match=r"not_a_field\n  Extra inputs are not permitted"):
        kind.model_validate({"not_a_field": 1})


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        EXPERIMENT.joint.epochs = 3


def test_every_field_can_be_named_on_the_command_line():
    """A dotted path has no place for a name with a dot, and the default of every field passes its own check."""
    for kind in KINDS:
        assert all("." not in name for name in kind.model_fields)
        required = [name for name, info in kind.model_fields.items() if info.is_required()]
        if not required:
            made = kind()
            assert kind.model_validate(made.model_dump()) == made


def test_settings_that_came_later_are_not_written_at_their_defaults():
    """A run's folder from before them belongs to the same configuration."""
    assert {"mismatch_in", "candidates"}.isdisjoint(ScenesConfig().model_dump())
    changed = ScenesConfig(mismatch_in=("train",), candidates=2)
    assert ScenesConfig.model_validate(changed.model_dump(mode="json")) == changed
    assert {"mismatch_in", "candidates"} <= set(changed.model_dump())


def test_an_experiment_survives_json():
    assert Experiment.model_validate_json(EXPERIMENT.model_dump_json()) == EXPERIMENT
    assert Experiment.model_validate(EXPERIMENT.model_dump(mode="json")) == EXPERIMENT


@pytest.mark.parametrize("name", ["Video", "shared", "audio+video", ""])
def test_names_of_modalities_are_checked(name):
    with pytest.raises(ValidationError, match=r"cannot name a modality|reserved"):
        DataConfig(inputs={name: VideoInput(column="v")})


def test_inputs_and_transforms_are_told_apart_by_their_names():
    assert type(TypeAdapter(Input).validate_python({"kind": "video", "column": "v"})) is VideoInput
    assert TypeAdapter(Transform).validate_python({"name": "flip"}) == Flip()
    with pytest.raises(ValidationError, match="'video', 'audio', 'image', 'flow', 'text', 'array'"):
        TypeAdapter(Input).validate_python({"kind": "smell", "column": "s"})
    with pytest.raises(ValidationError, match="'crop', 'flip'"):
        TypeAdapter(Transform).validate_python({"name": "rotate"})


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (TrainConfig, {"epochs": 0}),
        (TrainConfig, {"learning_rate": 0.0}),
        (TrainConfig, {"learning_rate": float("nan")}),
        (TrainConfig, {"momentum": 1.0}),
        (TrainConfig, {"accumulate": 0}),
        (TrainConfig, {"early_stopping": 0}),
        (TrainConfig, {"select": "first"}),
        (TrainConfig, {"clip_norm": 0.0}),
        (AdapterConfig, {"rank": 0}),
        (AdapterConfig, {"dropout": 1.0}),
        (ObjectiveConfig, {"label_smoothing": 1.0}),
        (ObjectiveConfig, {"fused_weight": -1.0}),
        (DataConfig, {"validation_fraction": 0.0}),
        (DataConfig, {"missing": "ignore"}),
        (Runtime, {"dtype": "float16"}),
        (Runtime, {"workers": -1}),
        (Noise, {"voices": 0}),
        (Flip, {"probability": 1.5}),
    ],
)
def test_values_out_of_range_are_refused(kind, bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        kind(**bad)


def user_encoder() -> None:
    """Stands for a callable of the user's."""


def test_an_encoder_of_the_user_is_written_as_its_place():
    own = EncoderConfig(name=user_encoder)
    assert own.name is user_encoder
    assert own.model_dump()["name"] == f"{__file__}::user_encoder"
    assert EncoderConfig(name="small_cnn").model_dump()["name"] == "small_cnn"


def test_methods_have_titles():
    assert [method.title for method in EXPERIMENT.methods] == ["ume", "mmlora-r4"]


def test_an_experiment_can_be_restricted():
    some = EXPERIMENT.restricted(seeds=[5], folds=[1, 2], methods=["mmlora-r4"])
    assert (some.seeds, some.folds, some.methods) == ((5,), (1, 2), EXPERIMENT.methods[1:])
    assert EXPERIMENT.restricted() == EXPERIMENT
    with pytest.raises(ValueError, match=r"no method mmlora; valid names: ume, mmlora-r4\.$"):
        EXPERIMENT.restricted(methods=["ume", "mmlora"])


def test_a_stage_trains_nothing_unless_told():
    stage = StageConfig(name="ensemble", modalities=("audio", "video"))
    assert (stage.train, stage.start, stage.adapters, stage.derived) == ((), (), {}, {})
    assert stage.fusion.name == "late_mean"


def test_a_warm_up_that_does_not_end_is_refused():
    assert TrainConfig(epochs=2, warmup_epochs=2).warmup_epochs == 2
    with pytest.raises(ValidationError, match=r"A warm-up of 2\.5 epochs does not end within 2"):
        TrainConfig(epochs=2, warmup_epochs=2.5)
