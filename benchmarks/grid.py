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
    Noise,
    TimeShift,
    TrainConfig,
    VideoInput,
)
from awase.experiments.comparison import every_method

WINDOW_S = 0.6
ALONE = TrainConfig(epochs=30, batch_size=16, learning_rate=2e-3, warmup_epochs=2, label_smoothing=0.1)
"""Of one modality alone, and of several from random weights."""


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
        methods=every_method(("video", "audio")),
        unimodal=ALONE,
        from_start=ALONE,
        joint=TrainConfig(epochs=8, batch_size=16, learning_rate=1e-3, label_smoothing=0.1),
        seeds=(0,),
        folds=(0, 1, 2, 3, 4),
    )
