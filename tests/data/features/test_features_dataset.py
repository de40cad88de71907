"""Batches of a store against the published files read whole, clip by clip; splits, order, sharing, absence."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from howto_layout import DIM_2D, DIM_3D, Sizes, ready_clips, video_ids, write_howto_layout, write_howto_store
from torch.nn import functional as F

from awase.config import DataConfig, HowTo100MConfig
from awase.data import inferred, open_dataset
from awase.data.features import ClipDataset, import_howto100m, write_evaluation_store
from awase.data.features.clip_source import Wanted
from awase.types import Batch, Loader

FLOOR_FRAMES = 1000
VOCABULARY = ["onion", "salt", "pan", "knife", "egg", "add", "slice"]
WIDTH = 6


class KnownWords:
    """A tokenizer that keeps the words it knows: ids from 1, 0 fills up."""

    fingerprint = "known-words"
    calls = 0

    def __call__(self, texts: list[str]) -> dict[str, np.ndarray]:
        self.calls += 1
        ids = np.zeros((len(texts), WIDTH), dtype=np.int64)
        for row, text in enumerate(texts):
            known = [VOCABULARY.index(word) + 1 for word in re.findall(r"[\w']+", text) if word in VOCABULARY]
            ids[row, : len(known[:WIDTH])] = known[:WIDTH]
        return {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}


def config(store: Path, evaluation: dict[str, Path] | None = None, **settings: object) -> DataConfig:
    chosen = {"clips_per_video": 3, "validation_videos": 2, "validation_clips": 2, "max_words": WIDTH} | settings
    return DataConfig(
        dataset="howto100m", howto100m=HowTo100MConfig(store=store, evaluation=evaluation or {}, **chosen)
    )


def opened(root: Path, data: DataConfig) -> ClipDataset:
    found = open_dataset(data, cache=root / "cache", cache_gib=1.0, tokenizers={"text": KnownWords()})
    assert isinstance(found, ClipDataset)
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    root = tmp_path_factory.mktemp("howto")
    return root, *write_howto_store(root)


@pytest.fixture(scope="module")
def dataset(folders: tuple[Path, Path, Path]) -> ClipDataset:
    root, store, youcook2 = folders
    return opened(root, config(store, {"youcook2": youcook2}))


def times(clip: str) -> tuple[str, float, float]:
    video, span = clip.split("@")
    start, end = span.split("-")
    return video, float(start), float(end)


def straight(root: Path, clip: str) -> tuple[torch.Tensor, np.ndarray, int]:
    """Video, audio and its frames of one clip, from the published files."""
    video, start, end = times(clip)
    parts = []
    for dimension, rate in (("2d", 1.0), ("3d", 1.5)):
        rows = np.load(next(root.rglob(f"{video}_{dimension}.npz")))["features"].astype(np.float32)
        rows = rows[int(start * rate) : int(end * rate) + 1]
        parts.append(F.normalize(torch.from_numpy(rows.max(axis=0)), dim=0))
    sound = np.load(next(root.rglob(f"{video}_spec.npz")))["arr_0"]

    def frame(time: float) -> int:
        return max(0, (round(16_000 * time) - 200) // 160)

    cut = sound[:, frame(start) : frame(end)][:, :FLOOR_FRAMES]
    filled = np.full((40, FLOOR_FRAMES), sound.min(), dtype=np.float16)
    filled[:, : cut.shape[1]] = cut
    return torch.cat(parts), filled, cut.shape[1]


def test_clips_are_the_published_numbers(folders: tuple[Path, Path, Path], dataset: ClipDataset):
    loader = dataset.loader("train", batch_size=15, train=True, seed=3)
    assert isinstance(loader, Loader)
    (batch,) = loader.epoch(0)
    assert batch.complete >= {"video", "audio"}
    video, audio = batch.inputs["video"], batch.inputs["audio"]
    assert isinstance(video, torch.Tensor)
    assert audio["values"].shape == (15, 40, FLOOR_FRAMES)
    for row, clip in enumerate(batch.ids):
        expected, sound, frames = straight(folders[0] / "published", clip)
        torch.testing.assert_close(video[row], expected, rtol=0, atol=1e-7)  # the order of the sum of squares
        assert np.array_equal(audio["values"][row].numpy(), sound)
        assert audio["num_frames"][row] == frames


def test_words_are_of_the_clip_and_absent_where_none_is_known(folders: tuple[Path, Path, Path], dataset: ClipDataset):
    captions = json.loads((folders[0] / "published" / "caption.json").read_text())
    (batch,) = dataset.loader("train", batch_size=300, train=True).epoch(1)
    text = batch.inputs["text"]
    assert not isinstance(text, torch.Tensor)
    for row, clip in enumerate(batch.ids):
        video, start, end = times(clip)
        inside = [i for i, begin in enumerate(captions[video]["start"]) if start <= begin < end]
        words = " ".join(captions[video]["text"][i] for i in inside)
        known = sorted(VOCABULARY.index(word) + 1 for word in words.split() if word in VOCABULARY)
        ids = text["input_ids"][row][text["attention_mask"][row] > 0].tolist()
        if len(known) <= WIDTH:
            assert sorted(ids) == known
        assert bool(batch.present["text"][row]) == (len(known) > 0)
    assert dataset.summary["captions_without_known_words"] > 0


def test_unknown_words_only(tmp_path: Path):
    published = write_howto_layout(tmp_path, Sizes(videos=4, seconds=41))
    captions = json.loads(published.captions.read_text())
    for columns in captions.values():
        columns["text"] = ["zzz"] * len(columns["text"])
    published.captions.write_text(json.dumps(captions))
    import_howto100m(published, tmp_path / "store")
    for text in ("words", "joined"):
        data = opened(tmp_path, config(tmp_path / "store", text=text))
        (batch,) = data.loader("train", batch_size=6, train=True).epoch(0)
        assert not batch.present["text"].any()
        assert batch.present["video"].all()
        assert int(batch.inputs["text"]["input_ids"].abs().sum()) == 0


def test_joined_texts_are_tokenised_in_the_order_of_adding(folders: tuple[Path, Path, Path], dataset: ClipDataset):
    joined = opened(folders[0], config(folders[1], text="joined"))
    (one,), (other,) = (data.loader("train", batch_size=15, train=True).epoch(0) for data in (dataset, joined))
    assert one.ids == other.ids
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(one.inputs["text"][name], other.inputs["text"][name])


def test_the_captions_are_tokenised_once(folders: tuple[Path, Path, Path], tmp_path: Path):
    tokenizer = KnownWords()
    settings = config(folders[1])
    for _ in range(2):
        open_dataset(settings, cache=tmp_path, cache_gib=1.0, tokenizers={"text": tokenizer})
    # An empty text twice per opening (what fills up, what an empty text gives), the captions once.
    assert tokenizer.calls == 5


def flat(batches: list[Batch]) -> list[tuple]:
    return [(batch.ids, batch.index.tolist()) for batch in batches]


def test_order_depends_on_seed_and_epoch_alone(dataset: ClipDataset):
    loader = dataset.loader("train", batch_size=6, train=True, seed=5)
    assert (len(loader), loader.num_samples) == (3, 15)
    first = flat(list(loader.epoch(2)))
    threaded = dataset.loader("train", batch_size=6, train=True, seed=5, workers=3)
    assert flat(list(threaded.epoch(2))) == first
    assert flat(list(loader.epoch(2, start=1))) == first[1:]
    assert flat(list(loader.epoch(3))) != first
    assert flat(list(dataset.loader("train", batch_size=6, train=True, seed=6).epoch(2))) != first
    # Another batch size: the same clips of each video.
    other = dataset.loader("train", batch_size=15, train=True, seed=5).epoch(2)
    assert {clip for ids, _ in flat(list(other)) for clip in ids} == {clip for ids, _ in first for clip in ids}


def test_clips_of_a_video_are_together_and_shares_are_whole_videos(dataset: ClipDataset):
    (whole,) = dataset.loader("train", batch_size=15, train=True).epoch(0)
    videos = [clip.split("@")[0] for clip in whole.ids]
    assert all(len(set(videos[i : i + 3])) == 1 for i in range(0, 15, 3))
    assert [dataset.ids[row] for row in whole.index.tolist()] == videos
    parts = [
        next(dataset.loader("train", batch_size=15, train=True, rank=rank, world_size=2).epoch(0)) for rank in (0, 1)
    ]
    assert [len(part) for part in parts] == [9, 6]
    assert parts[0].ids + parts[1].ids == whole.ids
    video = torch.cat([part.inputs["video"] for part in parts])
    assert torch.equal(video, whole.inputs["video"])


def test_validation_is_whole_videos_with_different_fixed_clips(dataset: ClipDataset):
    loader = dataset.loader("val", batch_size=3)
    batches = list(loader.epoch(0))
    ids = [clip for batch in batches for clip in batch.ids]
    assert flat(batches) == flat(list(loader.epoch(7)))
    rows = torch.cat([batch.index for batch in batches]).tolist()
    assert [dataset.ids[row] for row in rows] == ids
    held = {clip.split("@")[0] for clip in ids}
    train = {dataset.ids[row] for row in dataset.splits["train"].tolist()}
    assert len(held) == 2
    assert not held & train
    assert held | train == set(video_ids(7))
    assert [dataset.groups[row] for row in rows] == [clip.split("@")[0] for clip in ids]
    assert len(set(ids)) == len(ids)


def test_evaluation_sets_are_splits(dataset: ClipDataset):
    clips = ready_clips()
    batches = list(dataset.loader("youcook2", batch_size=7).epoch(0))
    assert [len(batch) for batch in batches] == [7, 4]
    video = torch.cat([batch.inputs["video"] for batch in batches])
    for row, clip in enumerate(clips):
        two = torch.from_numpy(clip.streams["video_2d"]).float()
        three = torch.from_numpy(clip.streams["video_3d"].max(axis=0)).float()
        torch.testing.assert_close(video[row], torch.cat([F.normalize(x, dim=0) for x in (two, three)]))
    present = torch.cat([batch.present["audio"] for batch in batches]).tolist()
    assert present == [clip.audio is not None for clip in clips]
    assert batches[0].inputs["audio"]["num_frames"].tolist() == [300, 307, 314, 0, 328, 335, 342]
    assert batches[0].inputs["audio"]["values"][3].abs().max() == 0
    assert dataset.splits["youcook2"][0] == dataset.splits["val"][-1] + 1
    assert [dataset.ids[row] for row in dataset.splits["youcook2"].tolist()] == [clip.id for clip in clips]
    assert dataset.summary["evaluation"]["youcook2"]["rows_sharing_a_caption"] == 2


OTHER_SETTINGS = {
    "modalities": ("audio", "text"),
    "streams": ("video_2d",),
    "clips_per_video": 4,
    "min_time_s": 11.0,
    "max_words": 5,
    "candidates": 2,
    "audio_frames": 900,
    "padding": "reference",
    "text": "joined",
    "validation_videos": 3,
    "validation_clips": 3,
}
"""Another value of every setting that training, or the validation that chooses its epochs, reads."""


def test_training_depends_on_what_it_reads_and_not_on_evaluation_or_folders(
    folders: tuple[Path, Path, Path], tmp_path: Path
):
    """Every setting of a store is changed in turn."""
    root, store, youcook2 = folders
    plain = opened(root, config(store))
    moved = tmp_path / "moved"
    moved.symlink_to(store)
    unread = {
        "store": opened(root, config(moved)),
        "evaluation": opened(root, config(store, {"youcook2": youcook2})),
        "evaluation_captions": opened(root, config(store, evaluation_captions="all")),
    }
    assert {*OTHER_SETTINGS, *unread} == set(HowTo100MConfig.model_fields)
    assert {data.training_fingerprint for data in unread.values()} == {plain.training_fingerprint}
    assert unread["evaluation"].fingerprint != plain.fingerprint, "a run says what it was measured on"
    prints = {plain.training_fingerprint}
    for name, value in OTHER_SETTINGS.items():
        given = config(store)
        howto = given.howto100m.model_copy(update={name: value})
        prints.add(opened(root, given.model_copy(update={"howto100m": howto})).training_fingerprint)
    seeded = config(store).model_copy(update={"split_seed": 7})
    prints.add(opened(root, seeded).training_fingerprint)
    other, _ = write_howto_store(tmp_path / "other", Sizes(videos=7, seconds=67))
    prints.add(opened(root, config(other)).training_fingerprint)
    assert len(prints) == 1 + len(OTHER_SETTINGS) + 2


def test_all_captions_of_a_clip(folders: tuple[Path, Path, Path], tmp_path: Path):
    clips = ready_clips(3)
    several = [type(clip)(clip.id, clip.video, (*clip.captions, "more salt"), clip.streams) for clip in clips]
    write_evaluation_store(tmp_path / "several", "several", several, audio_frames=8)
    data = opened(tmp_path, config(folders[1], {"several": tmp_path / "several"}, evaluation_captions="all"))
    (batch,) = data.loader("several", batch_size=99).epoch(0)
    assert batch.ids == ("clip0", "clip0#1", "clip1", "clip1#1", "clip2", "clip2#1")
    assert torch.equal(batch.inputs["video"][0], batch.inputs["video"][1])


def test_a_clip_beyond_the_end_of_a_stream_has_no_video(tmp_path: Path):
    published = write_howto_layout(tmp_path, Sizes(videos=3, seconds=41))
    captions = json.loads(published.captions.read_text())
    first = video_ids(3)[0]
    captions[first] = {"start": [0.0, 60.0], "end": [11.0, 71.0], "text": ["salt", "onion"]}
    published.captions.write_text(json.dumps(captions))
    next(published.features.rglob(f"{video_ids(3)[1]}_3d.npz")).unlink()
    import_howto100m(published, tmp_path / "store")
    data = opened(tmp_path, config(tmp_path / "store", validation_videos=1, clips_per_video=16))
    found = {}
    for split in ("train", "val"):
        for batch in data.loader(split, batch_size=16).epoch(0):
            for row, clip in enumerate(batch.ids):
                found[clip] = [bool(batch.present[name][row]) for name in ("video", "audio")]
                if not batch.present["video"][row]:
                    assert batch.inputs["video"][row].abs().max() == 0
    assert found[f"{first}@0.000-11.000"] == [True, True]
    assert found[f"{first}@60.000-71.000"] == [False, False]
    assert {tuple(value) for clip, value in found.items() if clip.startswith(video_ids(3)[1])} == {(False, True)}
    assert all(value == [True, True] for clip, value in found.items() if clip.startswith(video_ids(3)[2]))


@pytest.mark.parametrize("padding", ["floor", "reference"])
def test_short_audio_is_filled_up(folders: tuple[Path, Path, Path], padding: str):
    """With the lowest value of the recording, or as in the original with 0 dB."""
    data = opened(folders[0], config(folders[1], padding=padding, audio_frames=1601))
    (batch,) = data.loader("val", batch_size=9).epoch(0)
    values, frames = batch.inputs["audio"]["values"], batch.inputs["audio"]["num_frames"]
    assert (frames < 1601).any()
    for row, clip in enumerate(batch.ids):
        sound = np.load(next((folders[0] / "published").rglob(f"{times(clip)[0]}_spec.npz")))["arr_0"]
        expected = 0.0 if padding == "reference" else sound.min()
        assert (values[row, :, frames[row] :].numpy() == expected).all()


def test_several_shards_give_what_one_gives(folders: tuple[Path, Path, Path], tmp_path: Path):
    root = folders[0]
    published = write_howto_layout(tmp_path / "again")
    for number in range(3):
        import_howto100m(published, tmp_path / "store", shard=(number, 3))
    several = opened(tmp_path, config(tmp_path / "store", validation_videos=1))
    one = opened(root, config(folders[1], validation_videos=1))
    by_id = {}
    for data in (several, one):
        rows = np.arange(7)
        clips = data.clips.drawn(rows, 0, 0)
        batch = data.clips.batch(clips, clips.video, Wanted(data.modalities, frozenset(data.modalities)))
        for row, clip in enumerate(batch.ids):
            held = (
                batch.inputs["video"][row],
                batch.inputs["audio"]["values"][row],
                batch.inputs["text"]["input_ids"][row],
            )
            for ours, theirs in zip(held, by_id.setdefault(clip, held), strict=True):
                assert torch.equal(ours, theirs)
    assert len(by_id) <= 21


def test_a_shard_without_a_stream_has_no_video(tmp_path: Path):
    """Batches of its videos alone are as wide as all others, and say that the video is absent."""
    published = write_howto_layout(tmp_path, Sizes(videos=4, seconds=41))
    for video in video_ids(4)[1::2]:  # the second share
        next(published.features.rglob(f"{video}_3d.npz")).unlink()
    for number in range(2):
        import_howto100m(published, tmp_path / "store", shard=(number, 2))
    data = opened(tmp_path, config(tmp_path / "store", validation_videos=1))
    wanted = Wanted(("video",), frozenset(("video",)))
    for videos, there in (([2, 3], False), ([0, 1], True), ([0, 2, 3], None)):
        clips = data.clips.drawn(np.array(videos), 0, 0)
        batch = data.clips.batch(clips, clips.video, wanted)
        bare = data.clips.batch(clips, clips.video, Wanted(("video",), frozenset()))
        assert batch.inputs["video"].shape == (3 * len(videos), DIM_2D + DIM_3D)
        assert torch.equal(batch.present["video"], bare.present["video"])
        assert batch.present["video"].tolist() == [video < 2 if there is None else there for video in clips.video]
        assert batch.inputs["video"][~batch.present["video"]].abs().sum() == 0


def test_ids_and_groups_are_made_once(dataset: ClipDataset):
    assert dataset.ids is dataset.ids
    assert dataset.groups is dataset.groups


def test_videos_of_training_in_an_evaluation_set_are_named(folders: tuple[Path, Path, Path], tmp_path: Path, caplog):
    """A store and an evaluation set that share three videos, one of them kept for validation."""
    data = opened(folders[0], config(folders[1]))
    held = data.ids[int(data.validation.video[0])]
    train = [data.ids[row] for row in data.splits["train"].tolist()][:2]
    clips = [
        type(clip)(clip.id, video, clip.captions, clip.streams)
        for clip, video in zip(ready_clips(5), [train[0], held, train[0], train[1], "abcdefghijk"], strict=True)
    ]
    write_evaluation_store(tmp_path / "test", "test", clips, audio_frames=8)
    write_evaluation_store(tmp_path / "other", "other", ready_clips(2), audio_frames=8)
    with caplog.at_level("WARNING"):
        found = opened(tmp_path, config(folders[1], {"test": tmp_path / "test", "other": tmp_path / "other"}))
    names = {held: ["val", "test"]} | {video: ["train", "test"] for video in train}
    assert found.summary["shared_between_splits"] == {"videos": {"count": 3, "names": names, "not_compared": ["other"]}}
    assert [record.getMessage() for record in caplog.records] == [
        f"3 videos of the store {folders[1]} are also in the evaluation set test (first {min(held, *train)}): what "
        "is measured there is no test of new videos."
    ]
    alone = opened(folders[0], config(folders[1], {"other": tmp_path / "other"}))
    assert alone.summary["shared_between_splits"]["videos"]["count"] == 0


def test_modalities_and_inputs_can_be_fewer(dataset: ClipDataset):
    batch = next(dataset.loader("val", batch_size=2, modalities=("audio", "text"), inputs=("text",)).epoch(0))
    assert (batch.inputs.keys(), batch.present.keys()) == ({"text"}, {"audio", "text"})
    whole = next(dataset.loader("val", batch_size=2).epoch(0))
    bare = next(dataset.loader("val", batch_size=2, inputs=()).epoch(0))
    assert bare.inputs == {}
    assert all(torch.equal(bare.present[name], whole.present[name]) for name in ("video", "audio", "text"))


def test_shapes_and_inputs(dataset: ClipDataset, folders: tuple[Path, Path, Path]):
    assert dataset.input_shape("video") == (DIM_2D + DIM_3D,)
    assert dataset.input_shape("audio") == (40, FLOOR_FRAMES)
    assert dataset.input_shape("text") == (WIDTH,)
    assert inferred(config(folders[1])).inputs == dataset.inputs
    narrow = opened(folders[0], config(folders[1], streams=("video_2d",)))
    assert narrow.input_shape("video") == (DIM_2D,)
    assert narrow.fingerprint != dataset.fingerprint


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"split": "train", "batch_size": 7, "train": True}, ValueError, "no multiple of the 3 clips"),
        ({"split": "dev", "batch_size": 3}, KeyError, "train, val, youcook2"),
        ({"split": "val", "batch_size": 3, "train": True}, ValueError, "Only the split 'train'"),
        ({"split": "val", "batch_size": 0}, ValueError, "1 clip or more"),
        ({"split": "val", "batch_size": 3, "mixup": 0.4}, ValueError, "cannot be mixed"),
        ({"split": "val", "batch_size": 3, "modalities": ("smell",)}, KeyError, "video, audio, text"),
        ({"split": "val", "batch_size": 3, "rank": 2, "world_size": 2}, ValueError, "counts from 0"),
    ],
)
def test_what_a_loader_refuses(dataset: ClipDataset, arguments: dict, kind: type[Exception], words: str):
    with pytest.raises(kind, match=words):
        dataset.loader(arguments.pop("split"), **arguments)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"store": None}, "howto100m.store is not set"),
        ({"validation_videos": 7}, "cannot be kept for validation"),
        ({"max_words": WIDTH + 1}, "keeps 6 tokens"),
    ],
)
def test_what_opening_refuses(folders: tuple[Path, Path, Path], settings: dict, words: str):
    with pytest.raises(ValueError, match=words):
        opened(folders[0], config(**({"store": folders[1]} | settings)))
