"""Which data set of a stream a row is of, which rows a stage of one sees, and which stay for later ones."""

from pathlib import Path

import numpy as np
import pytest
from media_files import write_manifest

from awase.config import DataConfig, SceneDomain, ScenesConfig, StreamConfig, TextInput
from awase.data import Dataset, inferred, open_dataset
from awase.data.datasets.scenes import ScenesSource
from awase.data.source import Rows
from awase.data.stream import Stream, replayed, resolve_stream

NAMES = ("sea", "hill", "town")


def table(column: bool = True) -> Rows:
    """53 rows of three data sets in turn, their labels in turn too, one row in five of validation and of test."""
    size = 53
    splits = tuple({3: "val", 4: "test"}.get(row % 5, "train") for row in range(size))
    data_sets = tuple(NAMES[row % 3] for row in range(size))
    return Rows(
        tuple(map(str, range(size))),
        tuple((str(row % 3),) for row in range(size)),
        splits,
        data_sets=data_sets if column else None,
    )


def parts(rows: Rows) -> dict[str, np.ndarray]:
    return {
        name: np.array([k for k, split in enumerate(rows.splits) if split == name]) for name in ("train", "val", "test")
    }


def resolved(rows: Rows, **stream: object) -> Stream | None:
    return resolve_stream(rows, parts(rows), DataConfig(stream=StreamConfig.model_validate(stream)))


def test_data_sets_come_in_the_order_of_appearance_or_as_told() -> None:
    found, told = resolved(table()), resolved(table(), order=("town", "sea", "hill"))
    assert found is not None
    assert told is not None
    assert found.names == NAMES
    assert told.names == ("town", "sea", "hill")
    for stream in (found, told):
        assert [stream.names[place] for place in stream.of_row] == list(table().data_sets or ())


def test_classes_divide_the_rows_without_a_column() -> None:
    found = resolved(table(column=False), classes={"odd": ("1",), "even": ("2", "0")})
    assert found is not None
    assert found.names == ("odd", "even")
    assert [found.names[place] for place in found.of_row[:4]] == ["even", "odd", "even", "even"]
    assert resolved(table(column=False)) is None


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        ({"order": ("sea", "hill")}, "the rows are of sea, hill, town"),
        ({"order": ("sea", "hill", "town", "moon")}, "names sea, hill, town, moon"),
        ({"classes": {"few": ("1",)}}, "labels 0, 2 to no data set"),
        ({"classes": {"a": ("1",), "b": ("1", "2")}}, "gives 1 to several"),
        ({"column": "c", "classes": {"a": ("1",)}}, "Both data.stream.column and data.stream.classes"),
        ({"order": ("sea", "sea")}, "twice"),
    ],
)
def test_a_stream_that_cannot_be_is_a_sentence(stream: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        resolved(table(), **stream)


def test_every_data_set_needs_rows_in_every_split() -> None:
    rows = table()
    few = {**parts(rows), "val": np.array([0, 3])}
    with pytest.raises(ValueError, match=r"'hill' of the stream has no row in the split 'val'"):
        resolve_stream(rows, few, DataConfig())
    with pytest.raises(ValueError, match=r"'digits' has no column"):
        resolve_stream(table(column=False), parts(rows), DataConfig(dataset="digits", stream={"column": "c"}))


def test_a_share_stays_the_same_rows_in_every_later_stage() -> None:
    rows = table()
    stream = resolved(rows)
    assert stream is not None
    train = parts(rows)["train"]
    sea = stream.rows(train, ("sea",))
    few = replayed(stream, train, ("sea",), 0.3, seed=7)
    assert len(few) == round(0.3 * len(sea))
    assert set(few) < set(sea)
    later = replayed(stream, train, ("sea", "hill"), 0.3, seed=7)
    assert set(few) == set(later) & set(sea)
    assert set(few) < set(replayed(stream, train, ("sea",), 0.6, seed=7))
    assert set(few) != set(replayed(stream, train, ("sea",), 0.3, seed=8))
    assert len(replayed(stream, train, ("sea",), 1e-6, seed=7)) == 1
    assert len(replayed(stream, train, ("sea",), 0.0, seed=7)) == 0


def opened(folder: Path, **stream: object) -> Dataset:
    rows = table()
    cells = zip(rows.ids, rows.labels, rows.splits, rows.data_sets or (), strict=True)
    lines = [{"id": i, "text": f"w{i}", "label": y[0], "split": s, "place": d} for i, y, s, d in cells]
    file = write_manifest(folder / "m.csv", lines)
    config = DataConfig.model_validate(
        {"manifest": file, "inputs": {"text": TextInput(column="text")}, "stream": stream}
    )
    found = open_dataset(config, cache=folder / "cache", cache_gib=1.0, tokenizers={"text": Letters()})
    assert isinstance(found, Dataset)
    return found


class Letters:
    fingerprint = "letters"

    def __call__(self, texts: list[str]) -> dict[str, np.ndarray]:
        ids = np.array([[ord(letter) for letter in text.ljust(4)[:4]] for text in texts])
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def test_no_row_of_another_data_set_is_in_any_batch(tmp_path: Path) -> None:
    data = opened(tmp_path, column="place")
    assert data.stream is not None
    only = data.only(("hill",))
    for split in ("train", "val", "test"):
        ids = [int(name) for batch in only.loader(split, batch_size=4).epoch(0) for name in batch.ids]
        assert ids == [row for row in parts(table())[split] if row % 3 == 1]
    again = data.only(("town",), earlier=("sea",), share=0.5, seed=1)
    there = {int(name) % 3 for batch in again.loader("train", batch_size=4).epoch(0) for name in batch.ids}
    assert there == {2, 0}
    assert {row % 3 for row in again.splits["val"]} == {2}
    with pytest.raises(ValueError, match=r"no data set moon; valid names: sea, hill, town"):
        data.only(("moon",))


def test_the_fingerprint_knows_the_stream_and_no_stream_leaves_it_as_it_was(tmp_path: Path) -> None:
    plain, streamed = opened(tmp_path), opened(tmp_path, column="place")
    turned = opened(tmp_path, column="place", order=("town", "sea", "hill"))
    assert plain.stream is None
    assert len({plain.fingerprint, streamed.fingerprint, turned.fingerprint}) == 3
    assert "stream" not in plain.summary
    assert streamed.summary["stream"]["sea"] == {"train": 11, "val": 4, "test": 3}
    with pytest.raises(ValueError, match=r"This data is no stream"):
        plain.only(("sea",))


def scenes(**domains: SceneDomain) -> DataConfig:
    return DataConfig(dataset="scenes", scenes=ScenesConfig(num_train=7, num_val=5, num_test=6, domains=domains))


def test_domains_of_scenes_take_turns_and_have_their_own_labels_and_noise() -> None:
    noisy = SceneDomain(labels="unique", unique_to="video", noise={"video": 5.0})
    made, plain = ScenesSource(scenes(calm=SceneDomain(), loud=noisy)), ScenesSource(scenes())
    assert made.rows.data_sets == tuple(("calm", "loud")[index % 2] for size in (7, 5, 6) for index in range(size))
    assert plain.rows.data_sets is None
    colours = {"red", "green", "blue", "yellow"}
    for row, name in enumerate(made.rows.data_sets):
        assert (made.rows.labels[row][0] in colours) == (name == "calm")
        same = np.array_equal(made.read(row, "video"), plain.read(row, "video"))
        assert same == (name == "calm")
        assert (made.fingerprint(row) == plain.fingerprint(row)) == (name == "calm")


def test_a_domain_that_cannot_be_is_a_sentence() -> None:
    with pytest.raises(KeyError, match="smell"):
        inferred(scenes(calm=SceneDomain(noise={"smell": 1.0})))
