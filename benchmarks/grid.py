"""Spoken sentences with real video and audio (the GRID corpus, one speaker): isolated letters and digits in babble.

The table is not part of this project: a CSV with columns clip (an mp4 with audio), letter, digit, the start and end of
each word in seconds, and fold (0 to 4). Command, for the letters:

    awase run benchmarks/grid.py::letter_words --set data.manifest=MANIFEST --out runs/letter_words

Expected, mean of five folds, one seed: audio alone about .3, video alone about .5 (25 letters, -10 dB).
"""

from typing import Literal, NamedTuple

from pydantic import JsonValue

from awase.config import (
    AudioInput,
    Crop,
    DataConfig,
    EncoderConfig,
    Experiment,
    Flip,
    MethodConfig,
    Noise,
    SelectionConfig,
    TextInput,
    TimeShift,
    TrainConfig,
    VideoInput,
)
from awase.experiments.comparison import every_method, mmlora_and_controls, table_methods, token_methods
from awase.experiments.spaces import SMALL, controlled
from awase.experiments.spaces import policies as every_policy

WINDOW_S = 0.6
BABBLE = Noise(source="babble", low_db=-10, high_db=-10, voices=4)
ALONE = TrainConfig(epochs=30, batch_size=16, learning_rate=2e-3, warmup_epochs=2, label_smoothing=0.1)
"""Of one modality alone, and of several from random weights."""


def letter_words() -> Experiment:
    """25 letters at -10 dB babble: every method, MMLoRA at ranks 1, 4 and 16 in audio, in video and in both."""
    return _words("letter")


def digit_words() -> Experiment:
    """10 digits at -10 dB babble; saturates."""
    return _words("digit")


def all_methods() -> tuple[Experiment, ...]:
    """Every classification method on three conditions: letters in babble, letters in quiet, digits in whole clips.

    Smaller pictures, narrower encoders and fewer epochs than `letter_words`, so that 5 folds of 28 methods fit in about
    an hour of two cores. What joins the blocks of transformers has tables of its own (`token_tables`); MMBT reads
    words, and the words of these sentences tell the label: it is in `benchmarks/scenes.py`.
    """
    return letters_in_babble(), letters_in_quiet(), whole_clip_digits(), *token_tables()


def token_tables() -> tuple[Experiment, ...]:
    """The three conditions with transformers in place of convolutional nets: 64 wide, and a larger pair, 96 wide."""
    tables = (letters_in_babble(), letters_in_quiet(), whole_clip_digits())
    return tuple(_of_tokens(table, large) for large in (False, True) for table in tables)


def letters_in_babble() -> Experiment:
    """25 letters at -10 dB babble."""
    return _table("letters_in_babble", _data("letter", _SMALL, (BABBLE,)), epochs=14)


def letters_in_quiet() -> Experiment:
    """25 letters with clean audio: the audio knows nearly everything."""
    return _table("letters_in_quiet", _data("letter", _SMALL, ()), epochs=5)


def whole_clip_digits() -> Experiment:
    """10 digits from whole clips of 3 s with clean audio: nobody says where the digit is."""
    size = _Size(num_frames=12, height=24, width=40)
    return _table("whole_clip_digits", _data("digit", size, (), window_s=None), epochs=5, audio_width=4)


def retrieval() -> tuple[Experiment, ...]:
    """Sentences by their video, audio and text: `sentences`, and `sentences_shifted`, whose audio is not in step.

    In the second the audio of every clip, in training and in test, is shifted by up to half a second, so that video and
    audio cannot be matched by when somebody speaks.
    """
    return sentences(), sentences_shifted()


def sentences() -> Experiment:
    """Joint and staged spaces with all controls; each of five folds finds 200 sentences among 200."""
    return _sentences("sentences", ())


def sentences_shifted() -> Experiment:
    """Joint and staged spaces where the timing of the audio says nothing."""
    experiment = _sentences("sentences_shifted", (TimeShift(max_s=0.5),))
    plain = [method for method in experiment.methods if method.label in ("joint", "av_t", "vt_a", "at_v")]
    return experiment.model_copy(update={"methods": tuple(plain)})


def policies() -> Experiment:
    """Three orders of adding a modality to sentences under every policy, joint training and every pair alone.

    Half the epochs of `sentences`.
    """
    base, epochs = _sentences("sentences_policies", ()), EPOCHS // 2
    return base.model_copy(
        update={
            "methods": every_policy(tuple(base.data.inputs), SMALL, epochs),
            "joint": base.joint.model_copy(update={"epochs": epochs}),
        }
    )


EPOCHS = 30
CLUSTERS: dict[str, JsonValue] = {"num_clusters": 32, "queue_rows": 512, "weight": 0.1}
CLUSTERED = MethodConfig(
    method="mcn", label="joint-clustered", settings={"retrieval": {**SMALL, "clustering": CLUSTERS}}
)


def sentence_adapters() -> Experiment:
    """For `awase headroom`: are adapters of pairs worth it on the real sentences? Half the epochs of `sentences`."""
    base = _sentences("sentence_adapters", ())
    adapters: dict[str, JsonValue] = {"place": "encoder", "adapter": {"rank": 8, "targets": "*"}}
    keyed: dict[str, JsonValue] = {"retrieval": SMALL, "combination": adapters, "training": {"epochs": 8}}
    methods = (
        MethodConfig(method="mcn", label="joint", settings={"retrieval": SMALL}),
        MethodConfig(method="pair_adapters", settings=keyed),
    )
    return base.model_copy(update={"methods": methods, "joint": base.joint.model_copy(update={"epochs": EPOCHS // 2})})


def _sentences(name: str, corrupt: tuple[TimeShift, ...]) -> Experiment:
    inputs = {
        "video": VideoInput(
            column="clip", num_frames=16, height=24, width=40, channels=1, augment=(Crop(padding=2), Flip())
        ),
        "audio": AudioInput(
            column="clip",
            window_s=3.0,
            representation="log_mel_40",
            corrupt=corrupt,
            augment=(TimeShift(max_s=0.05),),
        ),
        "text": TextInput(column="text", max_tokens=8),
    }
    return Experiment(
        name=name,
        data=DataConfig(inputs=inputs, task="retrieval", fold_column="fold", fold=0),
        encoders={
            "video": EncoderConfig(name="small_cnn", options={"width": 8}),
            "audio": EncoderConfig(name="small_cnn", options={"width": 4}),
            "text": EncoderConfig(name="small_transformer", options={"dim": 64, "depth": 1}),
        },
        methods=(*controlled(tuple(inputs), SMALL, EPOCHS), CLUSTERED),
        joint=TrainConfig(epochs=EPOCHS, batch_size=32, learning_rate=2e-3, warmup_epochs=1),
        selection=SelectionConfig(metric="R@1"),
        seeds=(0,),
        folds=(0, 1, 2, 3, 4),
        probe=False,
        missing_rates=(),
    )


def _table(name: str, data: DataConfig, epochs: int, audio_width: int = 8) -> Experiment:
    alone = TrainConfig(epochs=epochs, batch_size=16, learning_rate=2e-3, warmup_epochs=1, label_smoothing=0.1)
    widths = {"audio": audio_width, "video": 8}
    return Experiment(
        name=name,
        data=data,
        encoders={name: EncoderConfig(name="small_cnn", options={"width": width}) for name, width in widths.items()},
        methods=(*table_methods(("video", "audio")), *mmlora_and_controls(("video", "audio"))),
        unimodal=alone,
        from_start=alone,
        joint=alone.model_copy(update={"epochs": 2 * epochs // 5 or 1, "learning_rate": 1e-3, "warmup_epochs": 0}),
        seeds=(0,),
        folds=(0, 1, 2, 3, 4),
        probe=name == "letters_in_babble",
    )


def _of_tokens(table: Experiment, large: bool) -> Experiment:
    """The table's condition, with the methods of transformers; 14 epochs in babble, else 8: 5 teach these nothing."""
    epochs = 14 if table.name == "letters_in_babble" and not large else 8
    size: dict[str, JsonValue] = {"dim": 96 if large else 64, "depth": 4}
    patch: JsonValue = 16 if table.name == "whole_clip_digits" else 8
    alone = TrainConfig(epochs=epochs, batch_size=16, learning_rate=1e-3, warmup_epochs=2, label_smoothing=0.1)
    return table.model_copy(
        update={
            "name": f"{table.name}_{'large_' if large else ''}tokens",
            "encoders": {
                "video": EncoderConfig(name="small_vit", options=size),
                "audio": EncoderConfig(name="small_vit", options={**size, "patch": patch}),
            },
            "methods": token_methods(("video", "audio"), large=large),
            "unimodal": alone,
            "from_start": alone,
            "joint": alone.model_copy(update={"epochs": 2 * epochs // 5, "warmup_epochs": 0}),
            "probe": False,
        }
    )


def _words(word: Literal["letter", "digit"]) -> Experiment:
    return Experiment(
        name=f"{word}_words",
        data=_data(word, _Size(), (BABBLE,)),
        methods=every_method(("video", "audio")),
        unimodal=ALONE,
        from_start=ALONE,
        joint=TrainConfig(epochs=8, batch_size=16, learning_rate=1e-3, label_smoothing=0.1),
        seeds=(0,),
        folds=(0, 1, 2, 3, 4),
    )


class _Size(NamedTuple):
    num_frames: int = 12
    height: int = 48
    width: int = 80


_SMALL = _Size(num_frames=8, height=24, width=40)


def _data(
    word: Literal["letter", "digit"], size: _Size, corrupt: tuple[Noise, ...], window_s: float | None = WINDOW_S
) -> DataConfig:
    shift = TimeShift(max_s=0.05)
    return DataConfig(
        inputs={
            "video": VideoInput(
                column="clip",
                num_frames=size.num_frames,
                height=size.height,
                width=size.width,
                channels=1,
                window_s=window_s,
                augment=(Crop(padding=size.height // 12), Flip(), *((shift,) if window_s else ())),
            ),
            "audio": AudioInput(
                column="clip",
                window_s=window_s or 3.0,
                representation="log_mel_64",
                corrupt=corrupt,
                augment=(shift,),
            ),
        },
        label=(word,),
        start_column=f"{word}_start_s" if window_s else None,
        end_column=f"{word}_end_s" if window_s else None,
        fold_column="fold",
        fold=0,
    )
