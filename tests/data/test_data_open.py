"""Opening a data set: contents, missing rows, fingerprints, summaries, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from media_files import tone
from small_set import INPUTS, NUM_ROWS, RATE, Words, open_set, split_of, write_set

from awase.config import ArrayInput, AudioInput, DataConfig, Flip, Noise, SpecAugment, TimeShift, VideoInput
from awase.data import SOURCES, open_dataset

AUDIO = INPUTS["audio"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open")
    write_set(folder)
    return folder


def test_everything_is_there(home: Path) -> None:
    data = open_set(home / "m.csv", home / "cache")
    assert data.modalities == ("array", "audio", "image", "text")
    assert data.classes == ("a", "b", "c")
    assert data.task == "single_label"
    assert data.groups is None
    assert data.targets.tolist() == [row % 3 for row in range(NUM_ROWS)]
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 23, "val": 7, "test": 11}
    shapes = [data.input_shape(name) for name in data.modalities]
    assert shapes == [(3,), (400,), (3, 4, 6), (5,)]


def test_the_summary_counts_and_is_json(home: Path) -> None:
    summary = open_set(home / "m.csv", home / "cache").summary
    assert json.loads(json.dumps(summary)) == summary
    assert summary["splits"]["train"] == {"count": 23, "classes": {"a": 8, "b": 8, "c": 7}}
    assert summary["validation"] == {"made": "given"}
    assert summary["excluded"]["count"] == 0
    assert summary["audio_s"] == {"audio": {"window": 0.05, "clips": {"min": 0.05, "median": 0.05, "max": 0.05}}}


MISSING = {"audio": {3: "gone.wav", 25: ""}, "image": {3: "gone.png"}, "array": {3: '"[1, 2]"'}, "text": {3: ""}}


def test_masked_rows_stay_unless_nothing_is_left(tmp_path: Path) -> None:
    data = open_set(write_set(tmp_path, **MISSING), tmp_path / "cache")
    assert 3 not in data.splits["train"]
    assert 25 in data.splits["val"]
    assert data.summary["missing"]["audio"]["rows"] == [
        {"id": "id3", "reason": "no such file"},
        {"id": "id25", "reason": "empty cell"},
    ]
    assert data.summary["missing"]["array"]["by_reason"] == {"has the shape [2] where [3] is stated": 1}
    assert data.summary["excluded"]["count"] == 1
    assert data.summary["excluded"]["rows"][0]["id"] == "id3"


def test_drop_excludes_rows_that_lack_any(tmp_path: Path) -> None:
    data = open_set(write_set(tmp_path, **MISSING), tmp_path / "cache", missing="drop")
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 22, "val": 6, "test": 11}
    assert data.summary["excluded"]["rows"][1] == {"id": "id25", "reason": "audio: empty cell"}


def test_error_lists_the_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"2 rows lack a modality: 'id3' .*'id25' .audio: empty cell.*missing=mask"):
        open_set(write_set(tmp_path, **MISSING), tmp_path / "cache", missing="error")


def test_a_modality_that_no_row_has_is_an_error(tmp_path: Path) -> None:
    path = write_set(tmp_path, image={row: f"wrong/{row}.png" for row in range(NUM_ROWS)})
    with pytest.raises(ValueError, match=r"No training row has a usable 'image'; for example 'id0' .no such file"):
        open_set(path, tmp_path / "cache")


def test_dropping_a_whole_split_is_an_error(tmp_path: Path) -> None:
    path = write_set(tmp_path, text={row: "" for row in range(NUM_ROWS) if split_of(row) == "val"})
    with pytest.raises(ValueError, match=r"Every row of the split 'val' was excluded"):
        open_set(path, tmp_path / "cache", missing="drop")


def test_a_split_is_known_by_its_own_samples(home: Path, tmp_path: Path) -> None:
    """A cell of row 25, which is validation, is changed; training and test are the sets that they were."""
    reference = open_set(home / "m.csv", home / "cache")
    same = open_set(write_set(tmp_path / "copy"), tmp_path / "c")
    changed = open_set(write_set(tmp_path / "changed", text={25: "other words"}), tmp_path / "c")
    known = {split: reference.content_of(split) for split in ("train", "val", "test")}
    assert len(set(known.values())) == 3
    assert {split: same.content_of(split) for split in known} == known
    assert [split for split in known if changed.content_of(split) != known[split]] == ["val"]


def test_the_fingerprint_follows_content_not_paths_or_preprocessing(home: Path, tmp_path: Path) -> None:
    reference = open_set(home / "m.csv", home / "cache").fingerprint
    assert open_set(write_set(tmp_path / "copy"), tmp_path / "c").fingerprint == reference
    wider = AUDIO.model_copy(update={"window_s": 0.03, "augment": (TimeShift(),)})
    assert open_set(home / "m.csv", home / "cache", inputs={**INPUTS, "audio": wider}).fingerprint == reference
    others = [
        open_set(write_set(tmp_path / "label", label={0: "b"}), tmp_path / "c"),
        open_set(write_set(tmp_path / "split", split={0: "test"}), tmp_path / "c"),
        open_set(write_set(tmp_path / "text", text={0: "new"}), tmp_path / "c"),
        open_set(write_set(tmp_path / "id", id={0: "new"}), tmp_path / "c"),
        open_set(home / "m.csv", home / "cache", group_column="id"),
        open_set(home / "m.csv", home / "cache", classes=("a", "b", "c", "d")),
    ]
    soundfile.write(tmp_path / "copy" / "4.wav", tone(111, 0.05, RATE), RATE)
    others.append(open_set(tmp_path / "copy" / "m.csv", tmp_path / "c"))
    assert len({reference, *(data.fingerprint for data in others)}) == len(others) + 1


def test_augmentation_needs_no_second_decoding(home: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    open_set(home / "m.csv", cache)
    before = {path.name for path in (cache / "data").iterdir()}
    changed = AUDIO.model_copy(update={"augment": (TimeShift(),), "representation": "log_mel_40"})
    open_set(home / "m.csv", cache, inputs={**INPUTS, "audio": changed})
    assert {path.name for path in (cache / "data").iterdir()} == before
    open_set(home / "m.csv", cache, inputs={**INPUTS, "audio": AUDIO.model_copy(update={"window_s": 0.03})})
    assert len({path.name for path in (cache / "data").iterdir()} - before) == 2


def test_a_changed_file_is_decoded_anew(tmp_path: Path) -> None:
    path, inputs = write_set(tmp_path), {"audio": AUDIO}
    open_set(path, tmp_path / "cache", inputs=inputs)
    soundfile.write(tmp_path / "23.wav", np.full(400, 0.25, dtype=np.float32), RATE)
    audio = next(open_set(path, tmp_path / "cache", inputs=inputs).loader("val", batch_size=1).epoch(0)).inputs["audio"]
    assert isinstance(audio, torch.Tensor)
    assert bool((audio == 0.25).all())


@pytest.mark.parametrize("name", ["digits", "scenes"])
def test_the_built_in_sets_open(tmp_path: Path, name: str) -> None:
    config = DataConfig.model_validate(
        {
            "dataset": name,
            "digits": {"num_samples": 211},
            "scenes": {"num_train": 17, "num_val": 11, "num_test": 13},
        }
    )
    data = open_dataset(config, cache=tmp_path, cache_gib=1.0, tokenizers={"text": Words()}, threads=1)
    batch = next(data.loader("train", batch_size=7, train=True).epoch(0))
    assert batch.complete == set(data.modalities) == set(SOURCES[name](config).inputs)
    for modality in {*data.modalities} - {"text"}:
        value = batch.inputs[modality]
        assert isinstance(value, torch.Tensor)
        assert value.shape == (7, *data.input_shape(modality))


def test_without_a_window_audio_is_as_long_as_the_longest_training_clip(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    soundfile.write(tmp_path / "5.wav", tone(300, 0.0712, RATE), RATE)
    soundfile.write(tmp_path / "40.wav", tone(300, 0.5, RATE), RATE)
    data = open_set(path, tmp_path / "cache", inputs={"audio": AUDIO.model_copy(update={"window_s": None})})
    assert data.input_shape("audio") == (640,)
    assert data.summary["audio_s"]["audio"]["window"] == 0.08
    batch = next(data.loader("test", batch_size=11).epoch(0)).inputs["audio"]
    assert isinstance(batch, torch.Tensor)
    assert batch.shape == (11, 640)
    assert batch[-1].abs().min() >= 0
    assert bool((batch[0, 400:] == 0).all())
    assert bool(batch[-1, 630:].any())


def test_leaks_between_splits_are_listed(tmp_path: Path) -> None:
    same = {"array": '"[1, 1, 1]"', "audio": "0.wav", "image": "0.png", "text": "t"}
    changes: dict[str, dict[int, object]] = {name: {0: cell, 40: cell} for name, cell in same.items()}
    path = write_set(tmp_path, **changes)
    shared = open_set(path, tmp_path / "cache", group_column="label").summary["shared_between_splits"]
    assert shared["contents"] == {"count": 1, "rows": [["train: id0", "test: id40"]]}
    assert shared["groups"]["names"] == {name: ["train", "val", "test"] for name in "abc"}
    assert shared["ids"]["count"] == 0


def test_several_labels(home: Path) -> None:
    path = write_set(home / "multi", label={0: "a|b", 1: "", 30: "c"})
    data = open_set(path, home / "cache", label_separator="|")
    assert data.task == "multi_label"
    assert data.targets.dtype == np.float32
    assert data.targets[:3].tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("audio", {"representation": "mfcc"}, "'mfcc' is not a representation"),
        (
            "audio",
            {"augment": (Flip(),)},
            "'audio' is audio and cannot have the transform 'flip'; it can have time_shift",
        ),
        ("audio", {"augment": (SpecAugment(),)}, "cannot have the transform 'spec_augment'"),
        ("text", {"corrupt": (Noise(),)}, "'text' is text and cannot have the transform 'noise'; it can have none"),
    ],
)
def test_impossible_inputs_are_refused(home: Path, name: str, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_set(home / "m.csv", home / "cache", inputs={**INPUTS, name: INPUTS[name].model_copy(update=change)})


def test_more_impossible_inputs_are_refused(home: Path, tmp_path: Path) -> None:
    moving = VideoInput(column="image", augment=(TimeShift(),))
    with pytest.raises(ValueError, match=r"time_shift of 'video' needs frames a known time apart; set its window_s"):
        open_set(home / "m.csv", home / "cache", inputs={"video": moving})
    lone = write_set(tmp_path, audio=dict.fromkeys(range(1, 23), ""))
    babble = AUDIO.model_copy(update={"corrupt": (Noise(source="babble"),)})
    with pytest.raises(ValueError, match=r"Babble on 'audio' is made of other training clips, of which there are none"):
        open_set(lone, tmp_path / "cache", inputs={"audio": babble})


def test_a_cache_that_is_too_small_says_so(home: Path, tmp_path: Path) -> None:
    config = DataConfig(
        manifest=home / "m.csv", inputs={"audio": AUDIO, "array": ArrayInput(column="array", shape=(3,))}
    )
    assert isinstance(AUDIO, AudioInput)
    with pytest.raises(ValueError, match=r"Raise the limit with --cache-gib"):
        open_dataset(config, cache=tmp_path, cache_gib=4e-5, tokenizers={})
