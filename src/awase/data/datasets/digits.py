"""`digits`: handwritten images, tones (or spoken recordings) and number words, paired by class: a negative control.

Images are the 1,797 of scikit-learn's `load_digits` (8 x 8, from 43 writers who are not told apart), sounds are
synthesised (`tones`) or recorded (`recordings`), texts are phrases in five languages (`number_words`). Every modality
is split first; then, within a split and a digit, each image is paired at random with a sound and a phrase, as drawn
with the published `pairing_seed`. Given the label the modalities are thus independent: combining the posteriors of
the uni-modal models is already optimal, and no joint training can be better but by being a better uni-modal model.

Per digit, three fifths of the images are in train and one fifth each in validation and test. Every image makes one
row until there are none left; `num_samples` beyond 1,797 uses them again, within their split, in other company.
A tone is new in every row. Recordings are dealt like cards: all of a pool before one is used twice.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from awase.config import AudioInput, Crop, DataConfig, ImageInput, Input, TextInput, TimeShift
from awase.data.datasets.built_in import agreeing_inputs, digest, fit_window, generator
from awase.data.datasets.digit_pairs import pair_rows
from awase.data.datasets.recordings import Recording, find_recordings, speakers_of, split_recordings
from awase.data.datasets.tones import DURATION_S, LOWEST_RATE_HZ, render_tone
from awase.data.decode_audio import decode_audio
from awase.data.media import Clip
from awase.data.source import MediaError, Rows
from awase.vocabulary import Combination

REVISION = 1
"""Raised by hand when a row of the same seed comes out differently."""

RATE_HZ = 8000
RECORDING_WINDOW_S = 0.7
BRIGHTEST = 16


def default_inputs(recorded: bool = False) -> dict[str, Input]:
    """Returns the inputs of the data set where the configuration names none; recordings get a longer window."""
    return {
        "image": ImageInput(column="image", height=8, width=8, channels=1, augment=(Crop(padding=1),)),
        "audio": AudioInput(
            column="audio",
            sample_rate_hz=RATE_HZ,
            window_s=RECORDING_WINDOW_S if recorded else DURATION_S,
            representation="log_mel_40",
            augment=(TimeShift(max_s=0.05),),
        ),
        "text": TextInput(column="text", max_tokens=16),
    }


class DigitsSource:
    """The rows of all splits; with recordings their groups are the speakers, and fold k holds out the k-th of them.

    Raises `KeyError` for an unknown modality or speaker, `FileNotFoundError` where there are no recordings,
    `ValueError` for settings that clash.
    """

    def __init__(self, config: DataConfig) -> None:
        _check(config)
        folder = config.digits.recordings
        self.inputs = agreeing_inputs("digits", config.inputs, default_inputs(recorded=folder is not None))
        _check_rate(self.inputs)
        recordings = [] if folder is None else find_recordings(folder)
        held_out = _held_out(config, recordings) if recordings else None
        splits = split_recordings(recordings, held_out) if recordings else None
        bunch = load_digits()
        self._seed = config.digits.pairing_seed
        self._images: NDArray[np.float64] = bunch.images
        self._rows = pair_rows([int(digit) for digit in bunch.target], splits, self._seed, config.digits.num_samples)
        speakers = speakers_of(recordings)
        spoken_by = [row.recording.speaker for row in self._rows if row.recording is not None]
        self.rows = Rows(
            # The pairs of another held-out speaker are other samples, so that folds can be put side by side.
            ids=tuple(f"digits-{held_out or 'all'}-{index:05d}" for index in range(len(self._rows))),
            labels=tuple((str(row.digit),) for row in self._rows),
            splits=tuple(row.split for row in self._rows),
            groups=tuple(spoken_by) or None,
            folds=tuple(str(speakers.index(speaker)) for speaker in spoken_by) or None,
        )

    def fingerprint(self, index: int) -> str:
        """Returns a hash of the image, of the text, and of the recording's bytes or what its tone is made from."""
        row = self._rows[index]
        sound = f"tone {self._seed} {index}" if row.recording is None else row.recording.fingerprint()
        return digest(REVISION, row.digit, self._images[row.image].tobytes().hex(), row.text, sound)

    def recording(self, index: int, modality: str) -> np.ndarray:
        """Returns the row's waveform: a row is a whole recording."""
        wave = self.read(index, modality)
        assert not isinstance(wave, str), "a recording is audio"
        return wave

    def read(self, index: int, modality: str) -> np.ndarray | str:
        """Returns the row's image, waveform or text.

        Raises `KeyError` for a modality that is not in use, `MediaError` for a recording that cannot be decoded.
        """
        if modality not in self.inputs:
            raise KeyError(f"The modality {modality!r} is not in use; these are: {', '.join(self.inputs)}.")
        row, entry = self._rows[index], self.inputs[modality]
        if isinstance(entry, ImageInput):
            return _resize(self._images[row.image], entry)
        if isinstance(entry, AudioInput):
            return self._sound(index, entry)
        return row.text

    def _sound(self, index: int, entry: AudioInput) -> np.ndarray:
        row = self._rows[index]
        if row.recording is None:
            random = generator("digits", self._seed, index, "tone")
            return fit_window(render_tone(row.digit, entry.sample_rate_hz, random), entry)
        wave = decode_audio(row.recording.path, Clip(), entry)
        if wave is None:
            raise MediaError("holds no sound")
        return wave


def ceiling(config: DataConfig, modalities: Sequence[str]) -> dict[str, float]:
    """Returns the accuracy a perfect model reaches, where it is known: 1.0 for each combination that holds text.

    Every number word names one digit. Of images and sounds the ceiling is not known, and they are left out.

    >>> ceiling(DataConfig(dataset="digits"), ["audio", "text"])
    {'text': 1.0, 'audio+text': 1.0}
    """
    agreeing_inputs("digits", config.inputs, default_inputs())
    known = default_inputs()
    for name in modalities:
        if name not in known:
            raise KeyError(f"The data set 'digits' has no modality {name!r}; it has {', '.join(known)}.")
    names = sorted(set(modalities))
    subsets = [subset for size in range(1, len(names) + 1) for subset in combinations(names, size)]
    return {str(Combination.of(subset)): 1.0 for subset in subsets if "text" in subset}


def _held_out(config: DataConfig, recordings: list[Recording]) -> str | None:
    """The speaker of the test split; fold k is the k-th speaker in alphabetical order."""
    if config.fold is None:
        return config.digits.held_out_speaker
    if config.digits.held_out_speaker is not None:
        raise ValueError("data.fold and data.digits.held_out_speaker both name the speaker of the test; give one.")
    speakers = speakers_of(recordings)
    if not 0 <= config.fold < len(speakers):
        folds = ", ".join(f"{fold} ({speaker})" for fold, speaker in enumerate(speakers))
        raise ValueError(f"Fold {config.fold} does not occur; the folds are {folds}.")
    return speakers[config.fold]


def _resize(image: NDArray[np.float64], entry: ImageInput) -> NDArray[np.uint8]:
    """Brightness 0 to 16 as 0 to 255, brought to the entry's size by bilinear interpolation."""
    grey = Image.fromarray(np.rint(image * (255 / BRIGHTEST)).astype(np.uint8))
    size = (entry.width, entry.height)
    pixels = np.asarray(grey if grey.size == size else grey.resize(size, Image.Resampling.BILINEAR))
    return np.repeat(pixels[..., None], entry.channels, axis=2)


def _check(config: DataConfig) -> None:
    if config.task != "single_label":
        raise ValueError(f"Every row of digits has one label; the task given is {config.task!r}.")
    held_out = config.digits.held_out_speaker is not None or config.fold is not None
    if held_out and config.digits.recordings is None:
        raise ValueError("Tones have no speaker to hold out; name a folder in data.digits.recordings.")


def _check_rate(inputs: dict[str, Input]) -> None:
    audio = inputs.get("audio")
    if isinstance(audio, AudioInput) and audio.sample_rate_hz < LOWEST_RATE_HZ:
        raise ValueError(f"The tones of digits need {LOWEST_RATE_HZ} Hz or more; {audio.sample_rate_hz} were given.")
