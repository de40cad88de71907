"""Changes by dotted path: what they reach, how their text is read, and what they refuse."""

from pathlib import Path

import pytest

from awase.config import (
    AudioInput,
    DataConfig,
    EncoderConfig,
    Experiment,
    Flip,
    MethodConfig,
    Noise,
    TimeShift,
    TrainConfig,
    VideoInput,
)
from awase.runner.overrides import apply_overrides, changed_settings

SMALL = EncoderConfig(name="small_cnn", options={"width": 8})


@pytest.fixture
def experiment() -> Experiment:
    inputs = {
        "video": VideoInput(column="v", augment=(Flip(), TimeShift())),
        "audio": AudioInput(column="a", corrupt=(Noise(source="babble"),)),
    }
    return Experiment(
        name="clips",
        data=DataConfig(manifest=Path("clips.csv"), inputs=inputs, classes=("no", "yes"), label=("label",)),
        encoders={"audio": EncoderConfig(name="small_cnn", options={"width": 8})},
        methods=(MethodConfig(method="ume"), MethodConfig(method="mmlora", settings={"rank": 4})),
    )


@pytest.mark.parametrize(
    ("assignment", "read", "expected"),
    [
        ("joint.epochs=30", lambda e: e.joint.epochs, 30),
        ("joint.learning_rate=1e-4", lambda e: e.joint.learning_rate, 1e-4),
        ("joint.optimiser=sgd", lambda e: e.joint.optimiser, "sgd"),
        ("joint.clip_norm=0.5", lambda e: e.joint.clip_norm, 0.5),
        ("joint.clip_norm=null", lambda e: e.joint.clip_norm, None),
        ("probe=false", lambda e: e.probe, False),
        ("seeds=[3,5]", lambda e: e.seeds, (3, 5)),
        ("seeds.1=7", lambda e: e.seeds, (0, 7, 2)),
        ("data.manifest=other/clips.tsv", lambda e: e.data.manifest, Path("other/clips.tsv")),
        ("data.inputs.video.num_frames=4", lambda e: e.data.inputs["video"].num_frames, 4),
        ("data.inputs.video.window_s=1.5", lambda e: e.data.inputs["video"].window_s, 1.5),
        (
            "data.inputs.video.augment.1.max_s=0.3",
            lambda e: e.data.inputs["video"].augment,
            (Flip(), TimeShift(max_s=0.3)),
        ),
        ("data.inputs.audio.corrupt.0.low_db=-10", lambda e: e.data.inputs["audio"].corrupt[0].low_db, -10.0),
        ("data.inputs.audio.augment=[]", lambda e: e.data.inputs["audio"].augment, ()),
        (
            'data.inputs.audio.augment=[{"name": "noise", "low_db": -3}]',
            lambda e: e.data.inputs["audio"].augment,
            (Noise(low_db=-3.0),),
        ),
        ("data.scenes.labels=synergy", lambda e: e.data.scenes.labels, "synergy"),
        ("encoders.audio.options.width=16", lambda e: e.encoders["audio"].options, {"width": 16}),
        ("encoders.audio.options.depth=2", lambda e: e.encoders["audio"].options, {"width": 8, "depth": 2}),
        ("encoders.audio.pretrained=true", lambda e: e.encoders["audio"].pretrained, True),
        ("encoders.audio.pretrained=some/folder", lambda e: e.encoders["audio"].pretrained, "some/folder"),
        ('encoders.video={"name": "small_cnn"}', lambda e: e.encoders["video"], EncoderConfig(name="small_cnn")),
        ("methods.1.settings.rank=16", lambda e: e.methods[1].settings, {"rank": 16}),
        ('methods.1.settings.rank={"audio": 2}', lambda e: e.methods[1].settings, {"rank": {"audio": 2}}),
        ("encoders.video.options.width=8", lambda e: e.encoders["video"], SMALL),
        ("unimodal_overrides.audio.epochs=3", lambda e: e.unimodal_overrides, {"audio": {"epochs": 3}}),
        ("data.label=genre", lambda e: e.data.label, ("genre",)),
        ("data.label=2020,mood", lambda e: e.data.label, ("2020", "mood")),
        ("seeds=1,2", lambda e: e.seeds, (1, 2)),
        ("published.ume=71.5", lambda e: e.published, {"ume": 71.5}),
        # strings that look like something else
        ("data.id_column=7", lambda e: e.data.id_column, "7"),
        ("data.id_column=null", lambda e: e.data.id_column, None),
        ("name=2024", lambda e: e.name, "2024"),
        ("name=true", lambda e: e.name, "true"),
        ("data.manifest=123", lambda e: e.data.manifest, Path("123")),
        ("data.classes.0=7", lambda e: e.data.classes, ("7", "yes")),
        ("data.label.0=2020", lambda e: e.data.label, ("2020",)),
        ("data.split_files.test=5", lambda e: e.data.split_files, {"test": Path("5")}),
        ("data.label_separator==", lambda e: e.data.label_separator, "="),
        ("name=a=b", lambda e: e.name, "a=b"),
        ('name="quoted"', lambda e: e.name, "quoted"),
    ],
)
def test_one_field_changes_and_nothing_else(experiment, assignment, read, expected):
    before = experiment.model_dump()
    changed = apply_overrides(experiment, [assignment])
    assert read(changed) == expected
    assert type(read(changed)) is type(expected)
    assert experiment.model_dump() == before
    assert isinstance(changed, Experiment)
    assert Experiment.model_validate(changed.model_dump()) == changed
    different = {key for key, value in changed.model_dump().items() if value != before[key]}
    assert different <= {assignment.partition("=")[0].partition(".")[0]}


def test_changes_are_applied_in_order(experiment):
    changed = apply_overrides(experiment, ["joint.epochs=3", "seeds=[1]", "joint.epochs=5", "seeds.0=9"])
    assert (changed.joint, changed.seeds) == (TrainConfig(epochs=5), (9,))
    assert apply_overrides(experiment, []) == experiment


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("joint.epochs", ["'joint.epochs'", "path.to.field=value"]),
        ("=5", ["'=5'", "path.to.field=value"]),
        ("joint.epoch=3", ["joint.epoch", "'epoch'", *TrainConfig.model_fields]),
        ("jointly.epochs=3", ["'jointly'", *Experiment.model_fields]),
        ("joint..epochs=3", ["''", "epochs"]),
        ("joint.epochs=0", ["joint.epochs='0'", "greater than or equal to 1"]),
        ("joint.epochs=many", ["joint.epochs='many'", "integer"]),
        ("joint.learning_rate=NaN", ["joint.learning_rate='NaN'", "finite number"]),
        ("joint.learning_rate=1e999", ["joint.learning_rate='1e999'", "finite number"]),
        ("joint.optimiser=lion", ["'adamw' or 'sgd'"]),
        ("joint.epochs.more=3", ["20 has no fields", "'more'"]),
        ("data.classes.2=maybe", ["'2'", "a list of 2"]),
        ("data.classes.-1=maybe", ["'-1'", "a list of 2"]),
        ("seeds.first=3", ["'first'", "a list of 3"]),
        ("data.inputs.smell.column=s", ["'smell'", "video, audio"]),
        ("data.inputs.Smell={}", ["data.inputs.Smell"]),
        ("data.inputs.audio.num_frames=3", ["'num_frames'", "sample_rate_hz"]),
        ("data.inputs.video.kind=audio", ["'video'"]),
        ("data.inputs.video.augment.0.max_s=3", ["'max_s'", "probability"]),
        ("unimodal_overrides.smell.epochs=3", ["'smell'", "video, audio"]),
        ("encoders.smell.options.width=3", ["'smell'", "video, audio"]),
    ],
)
def test_wrong_changes_are_sentences(experiment, assignment, words):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        apply_overrides(experiment, ["joint.batch_size=7", assignment])
    assert type(caught.value) is ValueError
    missing = [word for word in words if word not in str(caught.value)]
    assert missing == [], str(caught.value)


def test_an_encoder_of_the_user_stays_itself(experiment):
    def mine() -> None:
        """A callable."""

    own = experiment.model_copy(update={"encoders": {"audio": EncoderConfig(name=mine)}})
    changed = apply_overrides(own, ["encoders.audio.options.width=3", "joint.epochs=3"])
    assert changed.encoders["audio"].name is mine
    assert changed.encoders["audio"].options == {"width": 3}


def test_settings_are_changed_by_dotted_names():
    settings = {"rank": 4, "training": {"epochs": 3, "batch_size": 5}}
    changed = changed_settings(settings, {"training.epochs": 7, "rank": 2, "rank_of.audio.deep": 1, "new": None})
    assert changed == {
        "rank": 2,
        "training": {"epochs": 7, "batch_size": 5},
        "rank_of": {"audio": {"deep": 1}},
        "new": None,
    }
    assert settings == {"rank": 4, "training": {"epochs": 3, "batch_size": 5}}
    assert changed_settings({"training": None}, {"training.epochs": 7}) == {"training": {"epochs": 7}}
