"""Experiments on the two built-in data sets; nothing is downloaded."""

from typing import Literal

from awase.config import DataConfig, Experiment, ScenesConfig, TrainConfig
from awase.data import inferred
from awase.experiments.comparison import natural_baselines

SCENES_TRAINING = TrainConfig(epochs=12, batch_size=32, learning_rate=2e-3)


def demo() -> Experiment:
    """Video and audio of 400 procedural clips whose label both tell in part: every baseline beside MMLoRA.

    Command: `awase run demo` (`make demo`). Expected time: 2 to 4 minutes on two cores.
    """
    return _scenes("demo", "redundant", ("video", "audio"))


def scenes_redundant() -> Experiment:
    """Every modality tells the label. Command: `awase run scenes.redundant`; about 5 minutes on two cores."""
    return _scenes("scenes.redundant", "redundant", ("video", "audio", "text"))


def scenes_unique() -> Experiment:
    """Only the video tells the label. Command: `awase run scenes.unique`; about 5 minutes on two cores."""
    return _scenes("scenes.unique", "unique", ("video", "audio", "text"))


def scenes_synergy() -> Experiment:
    """No modality alone tells the label. Late means must fail here and joint fusion must not.

    Command: `awase run scenes.synergy`; about 5 minutes on two cores.
    """
    return _scenes("scenes.synergy", "synergy", ("video", "audio"))


def digits() -> Experiment:
    """Handwritten digits, tones and number words paired by class: a negative control, where nothing can beat UME.

    Command: `awase run digits`, with real recordings `--set data.digits.recordings=FOLDER`. About 3 minutes on two
    cores.
    """
    data = inferred(DataConfig(dataset="digits"))
    return Experiment(
        name="digits",
        data=data,
        methods=natural_baselines(tuple(data.inputs)),
        unimodal=TrainConfig(epochs=10, learning_rate=2e-3),
        joint=TrainConfig(epochs=10, learning_rate=2e-3),
    )


def _scenes(name: str, labels: Literal["redundant", "unique", "synergy"], modalities: tuple[str, ...]) -> Experiment:
    data = inferred(DataConfig(dataset="scenes", scenes=ScenesConfig(labels=labels)))
    data = data.model_copy(update={"inputs": {key: data.inputs[key] for key in modalities}})
    return Experiment(
        name=name,
        data=data,
        methods=natural_baselines(modalities),
        unimodal=SCENES_TRAINING,
        joint=SCENES_TRAINING,
    )
