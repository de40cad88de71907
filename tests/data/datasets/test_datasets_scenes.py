from collections import Counter
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from awase.config import AudioInput, DataConfig, ImageInput, ScenesConfig, TextInput, VideoInput
from awase.data.datasets.scene_factors import FACTORS, NUM_VALUES, SHOWN, label_of
from awase.data.datasets.scenes import ScenesSource, ceiling, default_inputs

SMALL: dict[str, Any] = {"num_train": 13, "num_val": 5, "num_test": 7}


def config_of(in_use: tuple[str, ...] = ("video", "audio", "text"), **scenes: Any) -> DataConfig:
    inputs = {name: default_inputs()[name] for name in in_use}
    return DataConfig(dataset="scenes", inputs=inputs, scenes=ScenesConfig(**(SMALL | scenes)))


def test_rows_name_every_clip_once_with_its_split_and_label() -> None:
    source = ScenesSource(DataConfig(dataset="scenes", scenes=ScenesConfig(**SMALL)))
    assert list(source.inputs) == ["video", "audio", "text"]
    assert Counter(source.rows.splits) == {"train": 13, "val": 5, "test": 7}
    assert len(set(source.rows.ids)) == len(source.rows) == 25
    assert source.rows.groups is None
    assert source.rows.folds is None
    assert {name for label in source.rows.labels for name in label} <= set(FACTORS["theme"])


def test_a_clip_depends_on_seed_split_and_index_alone() -> None:
    few, more = ScenesSource(config_of()), ScenesSource(config_of(num_train=17))
    for name in ("video", "audio", "text"):
        assert np.array_equal(few.read(12, name), more.read(12, name))
        assert np.array_equal(few.read(13, name), more.read(17, name))
    assert few.fingerprint(12) == more.fingerprint(12)
    assert few.fingerprint(13) == more.fingerprint(17)


def test_a_fingerprint_tells_seed_place_noise_and_caption_apart() -> None:
    sources = [
        ScenesSource(config_of(**change))
        for change in (
            {},
            {"generator_seed": 1},
            {"noise": {"audio": 0.1}},
            {"noise": {"video": 0.1}},
            {"mismatch": 1},
            {"pair_factors": "common"},
        )
    ]
    prints = [source.fingerprint(index) for source in sources for index in range(len(source.rows))]
    assert len(set(prints)) == len(prints)


def test_clips_with_common_pair_factors_show_them() -> None:
    own, common = ScenesSource(config_of()), ScenesSource(config_of(pair_factors="common"))
    texts = [(own.read(index, "text"), common.read(index, "text")) for index in range(25)]
    assert any(first != second for first, second in texts)
    captions = {frozenset(str(text).split()) for _, text in texts}
    told = {
        (pitch, shape)
        for words in captions
        for pitch, low in enumerate(FACTORS["pitch"])
        for shape, form in enumerate(FACTORS["shape"])
        if {low, form} <= words
    }
    assert told == {(value, value) for value in range(NUM_VALUES)}


def test_samples_follow_their_inputs() -> None:
    inputs = {
        "video": VideoInput(column="x", num_frames=3, height=19, width=23, channels=1),
        "audio": AudioInput(column="x", sample_rate_hz=11_000, window_s=0.7),
    }
    source = ScenesSource(DataConfig(dataset="scenes", inputs=inputs, scenes=ScenesConfig(**SMALL)))
    frames, wave = source.read(0, "video"), source.read(0, "audio")
    assert isinstance(frames, np.ndarray)
    assert isinstance(wave, np.ndarray)
    assert frames.shape == (3, 19, 23, 1)
    assert wave.shape == (7700,)
    assert wave.dtype == np.float32
    with pytest.raises(KeyError, match="'text' is not in use; these are: video, audio"):
        source.read(0, "text")


def test_a_mismatched_clip_has_the_words_of_another_and_keeps_the_rest() -> None:
    matched, mixed = ScenesSource(config_of()), ScenesSource(config_of(mismatch=1.0))
    assert matched.rows == mixed.rows
    for index in range(25):
        split, place = mixed._places[index]
        other = mixed._latents[split, mixed._captions[split][place]]
        words = str(mixed.read(index, "text")).split()
        assert {FACTORS[factor][other[factor]] for factor in SHOWN["text"]} <= set(words)
        assert np.array_equal(matched.read(index, "video"), mixed.read(index, "video"))
        assert np.array_equal(matched.read(index, "audio"), mixed.read(index, "audio"))


def test_captions_are_mismatched_in_the_named_splits_alone() -> None:
    everywhere, training, nowhere = (
        ScenesSource(config_of(mismatch=0.5, **change))
        for change in ({}, {"mismatch_in": ("train",)}, {"mismatch_in": ()})
    )
    right = list(range(13))
    assert training._captions["train"] == everywhere._captions["train"] != right
    assert sum(clip != source for clip, source in enumerate(training._captions["train"])) == round(0.5 * 13)
    assert sorted(training._captions["train"]) == right
    assert everywhere._captions["test"] != list(range(7))
    assert training._captions["val"] == list(range(5))
    assert training._captions["test"] == list(range(7))
    assert nowhere._captions["train"] == right
    clean = ScenesSource(config_of())
    assert [training.fingerprint(row) == clean.fingerprint(row) for row in range(13, 25)] == [True] * 12
    other = ScenesSource(config_of(mismatch=0.5, mismatch_in=("train",), generator_seed=1))
    assert other._captions["train"] != training._captions["train"]
    assert ceiling(config_of(mismatch=0.2, mismatch_in=("train", "val")), ["text"]) == {"text": 1.0}


def retrieval_of(**scenes: Any) -> DataConfig:
    return config_of(**scenes).model_copy(update={"task": "retrieval"})


def test_the_candidates_of_a_clip_are_what_it_carries_its_own_caption_and_others() -> None:
    plain = ScenesSource(retrieval_of(mismatch=0.5, mismatch_in=("train",)))
    two, three = (
        ScenesSource(retrieval_of(mismatch=0.5, mismatch_in=("train",), candidates=count)) for count in (2, 3)
    )
    others = []
    for row in range(13):
        bag, source = three._bags[row], plain._captions["train"][row]
        assert bag[0] == source
        assert len(set(bag)) == 3
        assert two._bags[row] == bag[:2]
        if source == row:
            others.append(bag[1])
        else:
            assert bag[1] == row
        texts = three.read(row, "text")
        assert texts[0] == plain.read(row, "text")
        for text, clip in zip(texts, bag, strict=True):
            shown = three._latents["train", clip]
            assert {FACTORS[factor][shown[factor]] for factor in SHOWN["text"]} <= set(text.split())
    assert len(set(others)) > 3
    assert isinstance(three.read(13, "text"), str)
    assert [plain.fingerprint(row) == three.fingerprint(row) for row in range(25)] == [False] * 13 + [True] * 12
    again = ScenesSource(retrieval_of(candidates=3, generator_seed=1))
    assert again._bags != ScenesSource(retrieval_of(candidates=3))._bags


def enumerated_ceiling(config: DataConfig, given: tuple[str, ...]) -> float:
    """Sum over what the given modalities show of the probability of the likeliest label.

    Enumerates the factors that tell a label or betray a strange caption: theme, shape and the three private ones, and
    for a caption of another clip that clip's theme, shape and hour.
    """
    shown = {"video": ("theme", "shape", "backdrop"), "audio": ("theme", "accompaniment")}
    names = ("theme", "shape", "backdrop", "accompaniment", "hour")
    mismatch, in_use, values = config.scenes.mismatch, tuple(config.inputs), range(NUM_VALUES)
    joint: Counter[tuple[Any, str]] = Counter()
    for own in product(values, repeat=5):
        latents = dict.fromkeys(FACTORS, 0) | dict(zip(names, own, strict=True))
        label = label_of(latents, config.scenes, in_use)
        seen = tuple(latents[factor] for name in given if name != "text" for factor in shown[name])
        if "text" not in given:
            joint[seen, label] += 1 / NUM_VALUES**5
            continue
        joint[(*seen, latents["theme"], latents["shape"], latents["hour"]), label] += (1 - mismatch) / NUM_VALUES**5
        for caption in product(values, repeat=3):
            joint[seen + caption, label] += mismatch / NUM_VALUES**8
    best: dict[Any, float] = {}
    for (seen, _), probability in joint.items():
        best[seen] = max(best.get(seen, 0.0), probability)
    return sum(best.values())


@pytest.mark.parametrize("mismatch", [0.0, 0.4])
@pytest.mark.parametrize(
    ("labels", "unique_to", "in_use"),
    [
        ("redundant", "video", ("video", "audio", "text")),
        ("unique", "video", ("video", "text")),
        ("unique", "text", ("video", "audio", "text")),
        ("synergy", "video", ("video", "audio")),
        ("synergy", "video", ("audio", "text")),
        ("synergy", "video", ("video", "audio", "text")),
    ],
)
def test_the_stated_ceiling_is_that_of_the_enumerated_distribution(
    labels: str, unique_to: str, in_use: tuple[str, ...], mismatch: float
) -> None:
    config = config_of(in_use, labels=labels, unique_to=unique_to, mismatch=mismatch)
    stated = ceiling(config, in_use)
    subsets = [subset for size in range(1, len(in_use) + 1) for subset in combinations(sorted(in_use), size)]
    assert list(stated) == ["+".join(subset) for subset in subsets]
    for subset in subsets:
        # Sums of up to 65,536 probabilities.
        assert stated["+".join(subset)] == pytest.approx(enumerated_ceiling(config, subset), abs=1e-9)


def test_ceiling_examples() -> None:
    synergy = config_of(("audio", "video"), labels="synergy")
    assert ceiling(synergy, ["video", "audio"]) == {"audio": 0.25, "video": 0.25, "audio+video": 1.0}
    assert ceiling(config_of(mismatch=0.2), ["text"]) == {"text": pytest.approx(0.85)}
    with pytest.raises(KeyError, match="'text' is not in use"):
        ceiling(synergy, ["text"])


@pytest.mark.parametrize("labels", ["redundant", "unique", "synergy"])
def test_the_words_of_a_caption_tell_the_label_as_well_as_stated(labels: str) -> None:
    """A classifier that looks up the four words, made on 800 clips, tested on 400: 1 where stated, else near chance."""
    scenes = {"num_train": 800, "num_val": 1, "num_test": 400, "labels": labels, "unique_to": "text"}
    source = ScenesSource(config_of(("video", "text"), **scenes))
    word_of = {word: factor for factor in ("theme", "hour") for word in FACTORS[factor]}
    counts: dict[tuple[str, ...], Counter[str]] = {}
    hits = []
    for index, split in enumerate(source.rows.splits):
        words = tuple(sorted(set(str(source.read(index, "text")).split()) & word_of.keys()))
        label = source.rows.labels[index][0]
        if split == "train":
            counts.setdefault(words, Counter())[label] += 1
        elif split == "test":
            hits.append(counts[words].most_common(1)[0][0] == label)
    # Chance is a quarter; its standard deviation over 400 clips is 0.022, and four of them are allowed.
    assert np.mean(hits) == (pytest.approx(0.25, abs=0.087) if labels == "synergy" else 1.0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"task": "multi_label"}, ValueError, "one label"),
        ({"fold": 0}, ValueError, "no folds"),
        ({"inputs": {"smell": TextInput(column="a")}}, KeyError, "video, audio, text"),
        ({"inputs": {"video": ImageInput(column="a")}}, ValueError, "kind 'video'"),
        ({"inputs": {"audio": AudioInput(column="a", sample_rate_hz=4000)}}, ValueError, "8000 Hz or more; 4000"),
        ({"scenes": ScenesConfig(labels="unique", unique_to="smell")}, ValueError, "one of video, audio, text"),
        ({"scenes": ScenesConfig(candidates=2)}, ValueError, "data.task=retrieval, or scenes.candidates=1"),
        (
            {"scenes": ScenesConfig(candidates=3, num_train=2), "task": "retrieval"},
            ValueError,
            "3 different captions per clip need 3 clips; 'train' has 2",
        ),
        ({"scenes": ScenesConfig(noise={"smell": 1.0})}, KeyError, "scenes has video, audio, text"),
        ({"scenes": ScenesConfig(noise={"audio": -1.0})}, ValueError, "zero or a positive number; -1.0"),
        ({"scenes": ScenesConfig(noise={"text": 1.5})}, ValueError, "probability that a word is replaced; 1.5"),
    ],
)
def test_settings_that_clash_are_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ScenesSource(DataConfig(dataset="scenes", **change))


def test_synergy_of_one_modality_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more modalities"):
        ScenesSource(config_of(("video",), labels="synergy"))


@pytest.mark.parametrize(("labels", "told"), [("redundant", True), ("synergy", False)])
@pytest.mark.parametrize("modality", ["video", "audio"])
def test_a_linear_model_tells_a_shared_label_and_no_synergy(labels: str, told: bool, modality: str) -> None:
    config = config_of(("video", "audio"), labels=labels, num_train=400, num_test=200)
    source = ScenesSource(config)
    samples = np.stack([_features(source.read(index, modality)) for index in range(len(source.rows))])
    names = np.array([label[0] for label in source.rows.labels])
    train, test = (np.array([split == name for split in source.rows.splits]) for name in ("train", "test"))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    accuracy = model.fit(samples[train], names[train]).score(samples[test], names[test])
    # Chance is a quarter; its standard deviation over 200 clips is 0.031, and four of them are allowed.
    assert accuracy > 0.95 if told else accuracy == pytest.approx(0.25, abs=0.125)


def _features(sample: np.ndarray | str) -> np.ndarray:
    """Every other pixel of a clip; the log spectrum of a waveform in 20 Hz."""
    assert isinstance(sample, np.ndarray)
    if sample.dtype == np.uint8:
        return sample[::2, ::2, ::2].reshape(-1).astype(float)
    power = np.square(np.abs(np.fft.rfft(sample)))[:2400]
    return np.log(power.reshape(200, 12).sum(1) + 1e-6)


def test_noise_is_a_number():
    with pytest.raises(ValueError, match="finite number"):
        ScenesConfig(noise={"audio": float("nan")})
