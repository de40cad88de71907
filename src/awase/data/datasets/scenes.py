"""`scenes`: procedural clips of a moving shape, an instrument and a caption, from shared, pairwise and private factors.

The generative model. A clip has seven factors, each with four equally likely values, all independent.

| factor | shown by | video | audio | text |
| --- | --- | --- | --- | --- |
| theme | all three | colour of the shape | instrument | colour word |
| rhythm | audio, video | when the shape lights up | when notes begin | |
| pitch | audio, text | | fundamental of the notes | word |
| shape | text, video | form of the shape | | word |
| backdrop | video | pattern behind the shape | | |
| accompaniment | audio | sound above 2 kHz | | |
| hour | text | | | word |

Nuisances (place and path of the shape, phases, detuning, gain, wording) are independent of all factors. The label is
`theme` (`redundant`), the private factor of one modality (`unique`), or the sum modulo 4 of the private factors of
the modalities in use (`synergy`). With `synergy` every proper subset of the modalities is independent of the label,
and so no model whose logits are a sum or mean of one term per modality has a lower expected cross-entropy than a
constant: the law of the data does not change when one private factor is raised and another lowered, the loss is convex
in the logits, and the mean of a sum of terms over these changes is a constant. Such a model can have an accuracy above
chance all the same, since accuracy is not convex.

With `pair_factors="common"` rhythm, pitch and shape have one value, so that every two modalities share two factors as
before, but no two share anything that the third lacks.

With `domains` the clips of a split take turns between the data sets of a stream, each with a label and noise of its
own over the same factors: a later one may ask about what an earlier one taught to pass over.

`mismatch` is the share of clips, in the splits `mismatch_in`, that carry the caption of another clip; the label stays
that of the clip itself. Every clip is a function of (generator seed, split, index), its caption also of `mismatch` and
of how many clips the split has. With `candidates` a training clip has so many captions, one of them its own.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from awase.config import AudioInput, Crop, DataConfig, Input, ScenesConfig, TextInput, TimeShift, VideoInput
from awase.data.datasets.built_in import agreeing_inputs, digest, fit_window, generator
from awase.data.datasets.scene_audio import DURATION_S, LOWEST_RATE_HZ, render_audio
from awase.data.datasets.scene_factors import NUM_VALUES, caption_bags, caption_sources, draw_latents, label_of
from awase.data.datasets.scene_text import render_text
from awase.data.datasets.scene_video import render_video
from awase.data.source import Rows, Sample
from awase.vocabulary import Combination

REVISION = 1
"""Raised by hand when a clip of the same seed comes out differently."""


def default_inputs() -> dict[str, Input]:
    """Returns the inputs of the data set where the configuration names none: small enough to train in seconds."""
    return {
        "video": VideoInput(column="video", num_frames=6, height=24, width=24, augment=(Crop(padding=2),)),
        "audio": AudioInput(
            column="audio",
            sample_rate_hz=LOWEST_RATE_HZ,
            window_s=DURATION_S,
            representation="log_mel_40",
            augment=(TimeShift(max_s=0.03),),
        ),
        "text": TextInput(column="text", max_tokens=16),
    }


class ScenesSource:
    """The clips of all splits. Raises `KeyError` for an unknown modality, `ValueError` for settings that clash."""

    def __init__(self, config: DataConfig) -> None:
        self.inputs = scene_inputs(config)
        self.config = config.scenes
        self._domains = tuple(self.config.domains)
        sizes = {"train": self.config.num_train, "val": self.config.num_val, "test": self.config.num_test}
        self._places = [(split, index) for split, size in sizes.items() for index in range(size)]
        common, seed = self.config.pair_factors == "common", self.config.generator_seed
        self._latents = {place: draw_latents(seed, *place, common=common) for place in self._places}
        self._captions = {
            split: caption_sources(self.config.generator_seed, split, size, _mismatch(self.config, split))
            for split, size in sizes.items()
        }
        several = self.config.candidates > 1 and "text" in self.inputs
        self._bags = (
            caption_bags(self.config.generator_seed, "train", self._captions["train"], self.config.candidates)
            if several
            else []
        )
        self.rows = Rows(
            ids=tuple(f"{split}-{index:05d}" for split, index in self._places),
            labels=tuple(() if config.task == "retrieval" else (self._label(place),) for place in self._places),
            splits=tuple(split for split, _ in self._places),
            data_sets=tuple(self._domains[index % len(self._domains)] for _, index in self._places)
            if self._domains
            else None,
        )

    def _label(self, place: tuple[str, int]) -> str:
        return label_of(self._latents[place], self._of(place[1]), tuple(self.inputs))

    def _of(self, index: int) -> ScenesConfig:
        """The label and noise of a clip: those of its domain where there are domains."""
        return in_domain(self.config, self._domains[index % len(self._domains)]) if self._domains else self.config

    def fingerprint(self, index: int) -> str:
        """Returns a hash of everything the clip is made from."""
        split, place = self._places[index]
        noise = sorted(self._of(place).noise.items())
        common = ("common",) if self.config.pair_factors == "common" else ()
        caption = self._captions[split][place]
        bag = self._bags[place][1:] if split == "train" and self._bags else ()
        return digest(REVISION, self.config.generator_seed, split, place, caption, repr(noise), *bag, *common)

    def recording(self, index: int, modality: str) -> np.ndarray:
        """Returns the row's waveform: a row is a whole recording."""
        wave = self.read(index, modality)
        assert isinstance(wave, np.ndarray), "a recording is audio"
        return wave

    def read(self, index: int, modality: str) -> Sample:
        """Returns the clip's frames, waveform, caption or several; raises `KeyError` for a modality not in use."""
        if modality not in self.inputs:
            raise KeyError(f"The modality {modality!r} is not in use; these are: {', '.join(self.inputs)}.")
        split, place = self._places[index]
        entry, noise = self.inputs[modality], self._of(place).noise.get(modality, 0.0)
        key = ("scenes", self.config.generator_seed, split, place, modality)
        random = generator(*key)
        if isinstance(entry, VideoInput):
            return render_video(self._latents[split, place], entry, noise, random)
        if isinstance(entry, AudioInput):
            wave = render_audio(self._latents[split, place], entry.sample_rate_hz, noise, random)
            return fit_window(wave, entry)
        caption = render_text(self._latents[split, self._captions[split][place]], noise, random)
        if split != "train" or not self._bags:
            return caption
        others = (
            render_text(self._latents[split, other], noise, generator(*key, number))
            for number, other in enumerate(self._bags[place][1:])
        )
        return (caption, *others)


def scene_inputs(config: DataConfig) -> dict[str, Input]:
    """Returns the inputs in use; raises `KeyError` or `ValueError` where they or the settings of the set clash."""
    inputs = agreeing_inputs("scenes", config.inputs, default_inputs())
    scenes = config.scenes
    for one in [in_domain(scenes, name) for name in scenes.domains] or [scenes]:
        _check_labels(config, one, inputs)
        _check_noise(one)
    audio = inputs.get("audio")
    if isinstance(audio, AudioInput) and audio.sample_rate_hz < LOWEST_RATE_HZ:
        raise ValueError(f"The sound of scenes needs {LOWEST_RATE_HZ} Hz or more; {audio.sample_rate_hz} were given.")
    return inputs


def in_domain(config: ScenesConfig, name: str) -> ScenesConfig:
    """Returns the settings of one data set of a stream of scenes."""
    return config.model_copy(update=config.domains[name].model_dump())


def ceiling(config: DataConfig, modalities: Sequence[str]) -> dict[str, float]:
    """Returns, for every non-empty combination of `modalities`, the accuracy a perfect model reaches without noise.

    Chance is 1/4. A caption tells its own clip's factors with probability 1 - mismatch and is otherwise independent
    of the label, so what hangs on a caption alone is worth t = (1 - mismatch) + mismatch / 4.
    Both hold of test, and so with mismatch 0 where `mismatch_in` does not name it.
    `redundant`: 1 with video or audio, t for text alone. `unique`: 1 (t for text) where the modality that tells is
    there, else chance. `synergy`: 1 (t with text in use) for all the modalities in use together, else chance. The
    label is defined over the modalities in use, `config.inputs`, whatever is asked about.

    Raises `KeyError` for a modality that is not in use, `ValueError` for a stream, whose data sets have one each.

    >>> ceiling(DataConfig(dataset="scenes"), ["text"])
    {'text': 1.0}
    """
    in_use = scene_inputs(config)
    for name in modalities:
        if name not in in_use:
            raise KeyError(f"The modality {name!r} is not in use; these are: {', '.join(in_use)}.")
    if config.scenes.domains:
        raise ValueError("A stream of scenes has a ceiling per data set; ask about one without data.scenes.domains.")
    names = sorted(set(modalities))
    subsets = [subset for size in range(1, len(names) + 1) for subset in combinations(names, size)]
    return {str(Combination.of(subset)): _best(config.scenes, set(subset), set(in_use)) for subset in subsets}


def _best(config: ScenesConfig, given: set[str], in_use: set[str]) -> float:
    chance = 1 / NUM_VALUES
    mismatch = _mismatch(config, "test")
    through_caption = 1 - mismatch + mismatch * chance
    if config.labels == "redundant":
        return through_caption if given == {"text"} else 1.0
    needed = {config.unique_to} if config.labels == "unique" else in_use
    if not needed <= given:
        return chance
    return through_caption if "text" in needed else 1.0


def _mismatch(config: ScenesConfig, split: str) -> float:
    return config.mismatch if split in config.mismatch_in else 0.0


def _check_labels(config: DataConfig, scenes: ScenesConfig, inputs: dict[str, Input]) -> None:
    if config.task == "multi_label":
        raise ValueError("Every clip of scenes has one label; the task given is 'multi_label'.")
    if config.scenes.candidates > 1 and config.task != "retrieval":
        raise ValueError(
            "Several captions per clip are for joint spaces; say data.task=retrieval, or scenes.candidates=1."
        )
    if config.fold is not None:
        raise ValueError("The data set 'scenes' has no folds; change data.scenes.generator_seed for other clips.")
    if scenes.labels == "unique" and scenes.unique_to not in inputs:
        raise ValueError(
            f"The label is unique to {scenes.unique_to!r}, which is not in use; use one of {', '.join(inputs)}."
        )
    if scenes.labels == "synergy" and len(inputs) < 2:
        raise ValueError("Labels by synergy need two or more modalities; only one is in use.")


def _check_noise(config: ScenesConfig) -> None:
    for name, amount in config.noise.items():
        if name not in default_inputs():
            raise KeyError(f"There is no modality {name!r} to add noise to; scenes has {', '.join(default_inputs())}.")
        if not 0 <= amount < float("inf"):
            raise ValueError(f"The noise of {name!r} must be zero or a positive number; {amount} was given.")
        if name == "text" and amount > 1:
            raise ValueError(f"The noise of text is the probability that a word is replaced; {amount} was given.")
