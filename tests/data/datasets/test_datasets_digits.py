from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from sklearn.datasets import load_digits

from awase.config import AudioInput, DataConfig, DigitsConfig, ImageInput, TextInput
from awase.data.datasets.digits import DigitsSource, ceiling
from awase.data.source import MediaError
from awase.data.splits import resolve_splits

SPEAKERS = ("ann", "bob", "cy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen recordings of each digit by each of three speakers: level 0.01 x (1 + digit), 0.1 s and more."""
    path = tmp_path_factory.mktemp("recordings")
    for digit in range(10):
        for speaker in SPEAKERS:
            for take in range(13):
                wave = np.full(800 + 7 * take, 0.01 * (1 + digit))
                soundfile.write(path / f"{digit}_{speaker}_{take}.wav", wave, 8000)
    return path


def config_of(inputs: dict[str, Any] | None = None, fold: int | None = None, **digits: Any) -> DataConfig:
    return DataConfig(dataset="digits", inputs=inputs or {}, fold=fold, digits=DigitsConfig(**digits))


def test_every_image_makes_one_row_by_default() -> None:
    source = DigitsSource(config_of())
    assert len(source.rows) == 1797 == len(set(source.rows.ids))
    assert Counter(source.rows.splits) == {"train": 1085, "val": 355, "test": 357}
    assert Counter(label[0] for label in source.rows.labels) == Counter(map(str, load_digits().target))
    assert source.rows.groups is None
    assert source.rows.folds is None
    assert list(source.inputs) == ["image", "audio", "text"]


def test_samples_follow_their_inputs() -> None:
    source = DigitsSource(config_of(num_samples=53))
    images = {image.tobytes(): digit for image, digit in zip(*load_digits(return_X_y=True), strict=True)}
    for index in range(53):
        image, wave = source.read(index, "image"), source.read(index, "audio")
        assert isinstance(image, np.ndarray)
        assert isinstance(wave, np.ndarray)
        assert image.shape == (8, 8, 1)
        assert image.dtype == np.uint8
        # 255/16 per step of brightness: undone exactly by rounding.
        original = np.rint(image[..., 0] * (16 / 255)).reshape(64)
        assert str(images[original.tobytes()]) == source.rows.labels[index][0]
        assert wave.shape == (4000,)
        assert isinstance(source.read(index, "text"), str)
    with pytest.raises(KeyError, match="'video' is not in use; these are: image, audio, text"):
        source.read(0, "video")


def test_images_and_tones_come_at_the_size_asked_for() -> None:
    inputs = {
        "image": ImageInput(column="x", height=11, width=13, channels=3),
        "audio": AudioInput(column="x", sample_rate_hz=16_000, window_s=0.7),
    }
    source = DigitsSource(config_of(inputs, num_samples=53))
    image, wave = source.read(0, "image"), source.read(0, "audio")
    assert isinstance(image, np.ndarray)
    assert isinstance(wave, np.ndarray)
    assert image.shape == (11, 13, 3)
    assert np.array_equal(image[..., 0], image[..., 2])
    assert wave.shape == (11_200,)


def test_the_pairing_is_published_by_its_seed_and_begins_alike_for_fewer_rows() -> None:
    one, same, other = (DigitsSource(config_of(pairing_seed=seed, num_samples=70)) for seed in (0, 0, 1))
    fewer = DigitsSource(config_of(num_samples=53))
    assert one.rows == same.rows
    prints = [[source.fingerprint(index) for index in range(53)] for source in (one, same, other, fewer)]
    assert prints[0] == prints[1] == prints[3]
    assert not set(prints[0]) & set(prints[2])
    assert len(set(prints[0])) == 53


def test_given_the_label_image_and_text_are_independent() -> None:
    """Over many rows of one digit, languages are spread alike over the darker and the lighter half of the images."""
    source = DigitsSource(config_of(num_samples=5000))
    fours = [index for index, label in enumerate(source.rows.labels) if label == ("4",)]
    brightness = np.array([np.asarray(source.read(index, "image")).mean() for index in fours])
    texts = [str(source.read(index, "text")) for index in fours]
    japanese = np.array([any(ord(letter) > 0x3000 for letter in text) for text in texts])
    light = brightness > np.median(brightness)
    # A fifth each; two shares of about 250 rows differ by 0.036 as one standard deviation, and four are allowed.
    assert abs(japanese[light].mean() - japanese[~light].mean()) < 0.144


def test_recordings_are_split_by_take_and_grouped_by_speaker(folder: Path) -> None:
    source = DigitsSource(config_of(recordings=folder))
    assert source.rows.groups is not None
    assert set(source.rows.groups) == set(SPEAKERS)
    lengths = defaultdict(set)
    for row, split in zip(source._rows, source.rows.splits, strict=True):
        assert row.recording is not None
        lengths[split].add(row.recording.take)
    assert lengths == {"train": {10, 11, 12}, "val": {5, 6, 7, 8, 9}, "test": {0, 1, 2, 3, 4}}


def test_a_recording_says_the_digit_of_its_row(folder: Path) -> None:
    inputs = {"audio": AudioInput(column="x", sample_rate_hz=8000)}
    source = DigitsSource(config_of(inputs, recordings=folder, num_samples=53))
    for index, label in enumerate(source.rows.labels):
        wave = source.read(index, "audio")
        assert isinstance(wave, np.ndarray)
        # 16 bits a sample.
        assert wave == pytest.approx(0.01 * (1 + int(label[0])), abs=2**-15)


@pytest.mark.parametrize("by_fold", [True, False])
def test_a_held_out_speaker_is_the_test_and_the_next_one_validation(folder: Path, by_fold: bool) -> None:
    config = config_of(fold=1, recordings=folder) if by_fold else config_of(recordings=folder, held_out_speaker="bob")
    source = DigitsSource(config)
    splits = resolve_splits(source.rows, config)
    assert source.rows.groups is not None
    spoken = {split: {source.rows.groups[row] for row in rows} for split, rows in splits.rows.items()}
    assert spoken == {"train": {"ann"}, "val": {"cy"}, "test": {"bob"}}
    assert {split: len(rows) for split, rows in splits.rows.items()} == Counter(source.rows.splits)


def test_a_spoilt_recording_is_a_media_error(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(b"RIFF" if file.name.startswith("3_") else file.read_bytes())
    source = DigitsSource(config_of(recordings=tmp_path, num_samples=53))
    index = source.rows.labels.index(("3",))
    with pytest.raises(MediaError):
        source.read(index, "audio")
    assert source.fingerprint(index) != DigitsSource(config_of(recordings=folder, num_samples=53)).fingerprint(index)


def test_ceiling_is_known_where_there_is_text() -> None:
    assert ceiling(config_of(), ["image", "audio"]) == {}
    assert ceiling(config_of(), ["image", "text"]) == {"text": 1.0, "image+text": 1.0}
    with pytest.raises(KeyError, match="'video'; it has image, audio, text"):
        ceiling(config_of(), ["video"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"task": "multi_label"}, ValueError, "one label"),
        ({"fold": 0}, ValueError, "data.digits.recordings"),
        ({"digits": DigitsConfig(held_out_speaker="ann")}, ValueError, "data.digits.recordings"),
        ({"inputs": {"video": TextInput(column="a")}}, KeyError, "image, audio, text"),
        ({"inputs": {"audio": AudioInput(column="a", sample_rate_hz=3000)}}, ValueError, "4000 Hz or more; 3000"),
        ({"digits": DigitsConfig(recordings=Path("nowhere"))}, FileNotFoundError, "nowhere holds no recordings"),
    ],
)
def test_settings_that_clash_are_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DigitsSource(DataConfig(dataset="digits", **change))


def test_folds_are_speakers_and_named_once(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"the folds are 0 \(ann\), 1 \(bob\), 2 \(cy\)"):
        DigitsSource(config_of(fold=3, recordings=folder))
    with pytest.raises(ValueError, match="both name the speaker"):
        DigitsSource(config_of(fold=0, recordings=folder, held_out_speaker="ann"))


def test_folds_have_samples_and_names_of_their_own(folder: Path) -> None:
    names = [set(DigitsSource(config_of(recordings=folder, num_samples=53, fold=fold)).rows.ids) for fold in range(3)]
    assert all(len(part) == 53 for part in names)
    assert len(set.union(*names)) == 3 * 53
