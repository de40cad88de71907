"""Several captions per clip, against a slow look through the published captions."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from howto_layout import Sizes, write_howto_layout

from awase.config import DataConfig, HowTo100MConfig
from awase.data import open_dataset
from awase.data.features import ClipDataset, import_howto100m
from awase.data.features.sampling import nearest_captions

VOCABULARY = ["onion", "salt", "pan", "knife", "egg", "add", "slice"]
WIDTH, COUNT, CLIPS = 6, 5, 3


class KnownWords:
    """Ids of known words from `first` on; with a token for the beginning, every text has id 1 before them."""

    def __init__(self, begins: bool) -> None:
        self.begins = begins
        self.fingerprint = f"known-words-{begins}"

    def __call__(self, texts: list[str]) -> dict[str, np.ndarray]:
        ids = np.zeros((len(texts), WIDTH + 1), dtype=np.int64)
        for row, text in enumerate(texts):
            known = [VOCABULARY.index(word) + 2 for word in re.findall(r"[\w']+", text) if word in VOCABULARY]
            found = ([1] if self.begins else []) + known[:WIDTH]
            ids[row, : len(found)] = found
        return {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards; the second video has two captions alone, fewer than there are candidates."""
    folder = tmp_path_factory.mktemp("candidates")
    published = write_howto_layout(folder, Sizes(videos=5, seconds=41))
    captions = json.loads(published.captions.read_text())
    captions["vid00000001"] = {name: values[3:5] for name, values in captions["vid00000001"].items()}
    published.captions.write_text(json.dumps(captions))
    for share in range(2):
        import_howto100m(published, folder / "store", shard=(share, 2))
    return folder


def opened(root: Path, *, begins: bool = False, **changes: object) -> ClipDataset:
    settings = {"clips_per_video": CLIPS, "validation_videos": 1, "max_words": WIDTH, "candidates": COUNT} | changes
    data = DataConfig(dataset="howto100m", howto100m=HowTo100MConfig(store=root / "store", **settings))
    found = open_dataset(data, cache=root / "cache", cache_gib=1.0, tokenizers={"text": KnownWords(begins)})
    assert isinstance(found, ClipDataset)
    return found


def slow_candidates(captions: dict[str, list], clip: str, centre: int) -> list[str | None]:
    """The caption itself, then the others by how far their middles lie from the clip's, the earlier first at a tie."""
    times = [(round(1000 * a), round(1000 * b)) for a, b in zip(captions["start"], captions["end"], strict=True)]
    start, end = (round(1000 * float(part)) for part in clip.split("@")[1].split("-"))
    others = [(abs(sum(times[i]) - start - end), i) for i in range(len(times)) if i != centre]
    chosen = [centre, *(i for _, i in sorted(others))][:COUNT]
    return [captions["text"][i] for i in chosen] + [None] * (COUNT - len(chosen))


def known(text: str | None) -> list[int]:
    return [VOCABULARY.index(word) + 2 for word in (text or "").split() if word in VOCABULARY][:WIDTH]


@pytest.mark.parametrize("text", ["words", "joined"])
def test_candidates_are_the_nearest_captions_of_the_video(root: Path, text: str):
    captions = json.loads((root / "caption.json").read_text())
    begins = text == "joined"
    data = opened(root, begins=begins, text=text)
    assert data.candidate_modalities == ("text",)
    loader = data.loader("train", batch_size=4 * CLIPS, train=True, seed=2)
    short = empty = 0
    for epoch in range(4):
        (batch,) = loader.epoch(epoch)
        clips = np.concatenate([data.clips.drawn(np.array([v]), 2, epoch).added[:, 0] for v in batch.index[::CLIPS]])
        made, mask = batch.inputs["text"], batch.candidates["text"]
        assert not isinstance(made, torch.Tensor)
        assert made["input_ids"].shape == (4 * CLIPS, COUNT, WIDTH + begins)
        assert made["attention_mask"].shape == made["input_ids"].shape
        for row, clip in enumerate(batch.ids):
            video = clip.split("@")[0]
            shard, _, local = split_of(data, int(batch.index[row]))
            centre = int(clips[row]) - int(shard.caption_offsets[local])
            for place, caption in enumerate(slow_candidates(captions[video], clip, centre)):
                there = made["attention_mask"][row, place] > 0
                ids = made["input_ids"][row, place][there].tolist()
                expected = known(caption)
                assert bool(mask[row, place]) == bool(expected)
                assert ids == ([1] if begins and expected else []) + expected
                short += caption is None
                empty += caption is not None and not expected
            assert bool(batch.present["text"][row]) == bool(mask[row].any())
    assert short > 0
    assert empty > 0, "both kinds of absence are seen"


def split_of(data: ClipDataset, video: int):
    from awase.data.features.clips import split_by_shard

    ((number, places, local),) = split_by_shard(data.clips.store, np.array([video]))
    return data.clips.store.shards[number], places, int(local[0])


def test_clips_do_not_depend_on_it_and_only_training_has_several(root: Path):
    one, several = opened(root, candidates=1), opened(root)
    (plain,) = one.loader("train", batch_size=4 * CLIPS, train=True).epoch(1)
    (more,) = several.loader("train", batch_size=4 * CLIPS, train=True).epoch(1)
    assert plain.ids == more.ids
    assert torch.equal(plain.inputs["video"], more.inputs["video"])
    assert (plain.candidates, one.candidate_modalities) == ({}, ())
    assert plain.inputs["text"]["input_ids"].shape == (4 * CLIPS, WIDTH)
    for split in ("train", "val"):
        held = [next(iter(data.loader(split, batch_size=4 * CLIPS).epoch(0))) for data in (one, several)]
        assert held[1].candidates == {}
        assert torch.equal(held[0].inputs["text"]["input_ids"], held[1].inputs["text"]["input_ids"])
    assert one.fingerprint != several.fingerprint


def test_ties_are_the_earlier_ones_and_the_own_caption_leads():
    start, end = np.array([0, 10, 20, 30]), np.array([10, 20, 30, 40])
    found = nearest_captions(start, end, np.array([3, 1]), np.array([40, 30]), 5)
    assert found.tolist() == [[3, 1, 2, 0, -1], [1, 0, 2, 3, -1]]
    assert nearest_captions(start, end, np.array([3]), np.array([40]), 1).tolist() == [[3]]


def test_candidates_without_text_are_refused():
    with pytest.raises(ValueError, match="have no text; add it, or set candidates to 1"):
        HowTo100MConfig(candidates=2, modalities=("video", "audio"))
