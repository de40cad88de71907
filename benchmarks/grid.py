"""Spoken sentences with real video and audio (the GRID corpus, one speaker): isolated letters and digits in babble.

The table is not part of this project: a CSV with columns clip (an mp4 with audio), letter, digit, the start and end of
each word in seconds, and fold (0 to 4). Command, for the letters:

    awase run benchmarks/grid.py::letter_words --set data.manifest=MANIFEST --out runs/letter_words

Expected, mean of five folds, one seed: audio alone about .3, video alone about .5 (25 letters, -10 dB).
"""

from typing import Literal

from awase.config import (
    AudioInput,
    Crop,
    DataConfig,
    Experiment,
    Flip,
    MethodConfig,
    Noise,
    TimeShift,
    TrainConfig,
    VideoInput,
)
from awase.experiments.comparison import every_method

WINDOW_S = 0.6
UNIMODAL_EPOCHS = 30


def letter_words() -> Experiment:
    """25 letters at -10 dB babble: every method, MMLoRA at ranks 1, 4 and 16 in audio, in video and in both."""
    return _words("letter")


def digit_words() -> Experiment:
    """10 digits at -10 dB babble; saturates."""
    return _words("digit")


def _words(word: Literal["letter", "digit"]) -> Experiment:
    babble = Noise(source="babble", low_db=-10, high_db=-10, voices=4)
    data = DataConfig(
        inputs={
            "video": VideoInput(
                column="clip",
                num_frames=12,
                height=48,
                width=80,
                channels=1,
                window_s=WINDOW_S,
                augment=(Crop(padding=4), Flip(), TimeShift(max_s=0.05)),
            ),
            "audio": AudioInput(
                column="clip",
                window_s=WINDOW_S,
                representation="log_mel_64",
                corrupt=(babble,),
                augment=(TimeShift(max_s=0.05),),
            ),
        },
        label=(word,),
        start_column=f"{word}_start_s",
        end_column=f"{word}_end_s",
        fold_column="fold",
        fold=0,
    )
    return Experiment(
        name=f"{word}_words",
        data=data,
        methods=tuple(_from_scratch_as_long(method) for method in every_method(("video", "audio"))),
        unimodal=TrainConfig(
            epochs=UNIMODAL_EPOCHS, batch_size=16, learning_rate=2e-3, warmup_epochs=2, label_smoothing=0.1
        ),
        joint=TrainConfig(epochs=8, batch_size=16, learning_rate=1e-3, label_smoothing=0.1),
        seeds=(0,),
        folds=(0, 1, 2, 3, 4),
    )


def _from_scratch_as_long(method: MethodConfig) -> MethodConfig:
    """Joint training from random weights gets the epochs of the uni-modal stages; what starts from them gets fewer."""
    if method.method != "joint":
        return method
    return method.model_copy(
        update={
            "settings": {
                **method.settings,
                "training": {"epochs": UNIMODAL_EPOCHS, "learning_rate": 2e-3, "warmup_epochs": 2},
            }
        }
    )
