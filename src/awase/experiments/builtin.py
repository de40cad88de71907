"""Experiments on the two built-in data sets; nothing is downloaded."""

from pydantic import JsonValue

from awase.config import (
    DataConfig,
    DigitsConfig,
    Experiment,
    Input,
    MethodConfig,
    SceneDomain,
    ScenesConfig,
    TrainConfig,
)
from awase.data import inferred
from awase.data.datasets.digits import default_inputs
from awase.experiments.comparison import natural_baselines

SCENES_TRAINING = TrainConfig(epochs=10, batch_size=32, learning_rate=2e-3)
LONGER = SCENES_TRAINING.model_copy(update={"epochs": 20})
NOISE = {"video": 16.0, "audio": 3.0, "text": 0.4}
"""At which each modality alone is right on roughly two clips of three, so that there is something to gain."""


def demo() -> Experiment:
    """Video and audio of 320 noisy clips whose label each tells in part: every baseline beside MMLoRA, three seeds.

    Command: `awase run demo` (`make demo`). Expected time: about 3 minutes on two cores. Expected accuracy: each
    modality alone about 75 %, together above 90 %.
    """
    scenes = ScenesConfig(num_train=320, num_val=100, num_test=400, noise={"video": 16.0, "audio": 3.0})
    experiment = _scenes("demo", scenes, ("video", "audio"))
    shorter = SCENES_TRAINING.model_copy(update={"epochs": 8})
    return experiment.model_copy(update={"unimodal": SCENES_TRAINING, "joint": shorter})


def scenes_redundant() -> Experiment:
    """Every modality tells the label, in noise. Command: `awase run scenes.redundant`; about 8 minutes on two cores."""
    return _scenes("scenes.redundant", ScenesConfig(noise=NOISE), ("video", "audio", "text"))


def scenes_unique() -> Experiment:
    """Only the video tells the label. Command: `awase run scenes.unique`; about 8 minutes on two cores."""
    scenes = ScenesConfig(labels="unique", noise={"video": 8.0})
    return _scenes("scenes.unique", scenes, ("video", "audio", "text"))


def scenes_synergy() -> Experiment:
    """No modality alone tells the label: only a fusion that is not additive can learn it.

    Late means, sums and one linear layer on concatenated features add one term per modality and cannot do better than
    a constant in expected cross-entropy; `joint-mlp` has a hidden layer. Expected: 25 % for all others, far above for
    `joint-mlp`. Command: `awase run scenes.synergy`; about 8 minutes on two cores.
    """
    experiment = _scenes("scenes.synergy", ScenesConfig(labels="synergy"), ("video", "audio"))
    mlp = MethodConfig(method="joint", label="joint-mlp", settings={"fusion": "mlp"})
    return experiment.model_copy(update={"methods": (*experiment.methods, mlp), "joint": LONGER})


def scenes_stream() -> Experiment:
    """Three data sets of clips one after the other: by day, by night (the same label, seen badly), and other classes.

    Command: `awase run scenes.stream`; about 5 minutes on one core per seed. Expected (one seed, 300
    clips, task-aware): joint training and a model per data set about 95 % on average, naive about 40 %, the bank about
    73 %: it keeps the first two and hardly learns `places`, whose classes its base never looked at.
    """
    domains = {
        "day": SceneDomain(noise={"video": 4.0, "audio": 1.0}),
        "night": SceneDomain(noise={"video": 30.0, "audio": 0.5}),
        "places": SceneDomain(labels="unique", unique_to="video", noise={"video": 2.0}),
    }
    scenes = ScenesConfig(num_train=240, num_val=90, num_test=300, domains=domains)
    experiment = _scenes("scenes.stream", scenes, ("video", "audio"))
    training = SCENES_TRAINING.model_copy(update={"batch_size": 16})
    own: dict[str, dict[str, JsonValue]] = {
        "replay": {"share": 0.2},
        "bank": {"adapter": {"rank": 8, "targets": "*"}, "training": {"learning_rate": 1e-2}},
    }
    policies = ("alone", "naive", "freeze", "replay", "lwf", "ewc", "bank")
    kept = [
        MethodConfig(method="continual", label=name, settings={"policy": name, **own.get(name, {})})
        for name in policies
    ]
    joint_model = MethodConfig(method="joint", settings={"fusion": "late_mean"})
    changes = {"methods": (joint_model, *kept), "unimodal": training, "joint": training, "probe": False}
    return experiment.model_copy(update={**changes, "missing_rates": ()})


def digits() -> Experiment:
    """Handwritten digits, tones and number words paired by class: a negative control, where nothing can beat UME.

    Command: `awase run digits`. About 5 minutes on two cores.
    """
    return _digits("digits", DigitsConfig())


def digits_speakers() -> Experiment:
    """Handwritten digits and real recordings of spoken ones, each of the six speakers left out in turn.

    The negative control on real sounds. Command: `awase run digits.speakers --set data.digits.recordings=FOLDER` with
    a folder of `{digit}_{speaker}_{index}.wav`. About 30 minutes on two cores.
    """
    experiment = _digits("digits.speakers", DigitsConfig(), default_inputs(recorded=True))
    chosen = {name: experiment.data.inputs[name] for name in ("image", "audio")}
    data = experiment.data.model_copy(update={"inputs": chosen})
    return experiment.model_copy(
        update={
            "data": data,
            "methods": natural_baselines(tuple(chosen)),
            "folds": tuple(range(6)),
            "seeds": (0,),
        }
    )


def _digits(name: str, config: DigitsConfig, inputs: dict[str, Input] | None = None) -> Experiment:
    data = DataConfig(dataset="digits", digits=config, inputs=inputs or default_inputs())
    training = TrainConfig(epochs=10, learning_rate=2e-3)
    return Experiment(
        name=name, data=data, methods=natural_baselines(tuple(data.inputs)), unimodal=training, joint=training
    )


def _scenes(name: str, scenes: ScenesConfig, modalities: tuple[str, ...]) -> Experiment:
    data = inferred(DataConfig(dataset="scenes", scenes=scenes))
    data = data.model_copy(update={"inputs": {key: data.inputs[key] for key in modalities}})
    return Experiment(
        name=name,
        data=data,
        methods=natural_baselines(modalities),
        unimodal=SCENES_TRAINING,
        joint=SCENES_TRAINING,
    )
