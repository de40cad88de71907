"""Evaluation sets with several captions per clip, from the store to the record: clips are items once, captions ask."""

from pathlib import Path

import numpy as np
import pytest
from howto_layout import WORDS, ready_clips, write_howto_store
from test_runner_mcn import command, named

from awase.cli.main import execute
from awase.data.features import EvaluationClip, write_evaluation_store
from awase.encoders.word2vec import build_vocabulary
from awase.records import read_record
from awase.runner.space_again import Request, rescore
from awase.runner.space_files import read_embeddings
from awase.statistics import read_ranks

CLIPS = 11
CAPTIONS = [2 + number % 3 for number in range(CLIPS)]  # clip 0 has two, clip 1 three, ...


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run; clip 3 has no audio, and the first of two captions of clip 6 has no known word."""
    root = tmp_path_factory.mktemp("several")
    store, _ = write_howto_store(root)
    store.rename(root / "howto100m")
    clips = []
    for number, clip in enumerate(ready_clips(CLIPS)):
        more = [f"{WORDS[(number + k) % 14]} {WORDS[(5 * number + k) % 14]} salt" for k in range(CAPTIONS[number])]
        captions = ("unheardof", more[0]) if number == 6 else tuple(more)
        clips.append(EvaluationClip(clip.id, clip.video, captions, clip.streams, clip.audio))
    write_evaluation_store(root / "msrvtt", "msrvtt", clips, audio_frames=512)
    generator = np.random.default_rng(0)
    lines = [f"{word} " + " ".join(f"{x:.3f}" for x in generator.normal(size=23)) for word in sorted(set(WORDS))]
    (root / "vectors.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    build_vocabulary(root / "vectors.txt", root / "words")
    out = root / "runs"
    more = ["data.howto100m.evaluation_captions=all"]
    assert execute(named(command(root, out, 1, *more), "mcn.av_t")) == 0
    return out / "av_t" / "seed-0"


def numbers(run: Path, split: str = "msrvtt") -> dict:
    retrieval = read_record(run).retrieval
    assert retrieval is not None
    return {n.direction: n for n in retrieval.numbers if (n.stage, n.split) == ("joint", split)}


def test_a_clip_is_in_the_gallery_once_and_every_caption_asks(run: Path):
    found = {name: number.protocol for name, number in numbers(run).items()}
    rows = sum(2 if number == 6 else count for number, count in enumerate(CAPTIONS))
    sizes = {name: (one["num_queries"], one["gallery_size"]) for name, one in found.items()}
    assert sizes["text->video"] == sizes["text->audio"] == sizes["text->audio+video"] == (rows, CLIPS)
    assert sizes["video->text"] == sizes["audio->text"] == (CLIPS, rows)
    assert sizes["video->audio"] == sizes["audio->video"] == (CLIPS, CLIPS)
    assert sizes["audio->text+video"] == (CLIPS, rows)
    assert (found["text->audio"]["missing_items"], found["text->audio"]["missing_queries"]) == (1, 1)
    assert {one["captions_per_item"] for one in found.values()} == {rows / CLIPS}
    assert found["video->text"]["correct"] == "any caption of the clip"
    assert found["text->video"]["correct"] == "own item"


def test_ranks_by_the_definition(run: Path):
    """The best of a clip's captions counts; of the others those that score at least as high stand before it."""
    embedded = read_embeddings(run, "joint", "msrvtt")
    clip = [int(name.partition("#")[0].removeprefix("clip")) for name in embedded.ids]
    scores = (embedded.embeddings["text"].double() @ embedded.embeddings["video"].double().T).numpy()  # (rows, rows)
    heard = embedded.present["text"].numpy()
    first = [clip.index(number) for number in range(CLIPS)]
    expected = {"text->video": [], "video->text": []}
    for row, own in enumerate(clip):
        others = [first[number] for number in range(CLIPS) if number != own]
        rank = sum(scores[row, other] >= scores[row, first[own]] for other in others)
        expected["text->video"].append(rank if heard[row] else -1)
    for number in range(CLIPS):
        by_row = scores[:, first[number]]
        best = max(by_row[row] for row in range(len(clip)) if clip[row] == number and heard[row])
        wrong = [by_row[row] for row in range(len(clip)) if clip[row] != number and heard[row]]
        expected["video->text"].append(sum(value >= best for value in wrong))
    table = read_ranks(run).select(stage="joint", split="msrvtt")
    for direction, ranks in expected.items():
        part = table.select(direction=direction)
        assert part.rank.tolist() == ranks
        assert part.rank_same_caption.tolist() == ranks
        number = numbers(run)[direction]
        assert number.metrics["R@5"] == pytest.approx(np.mean([0 <= rank < 5 for rank in ranks]))
        assert number.metrics_same == {}
    asked = table.select(direction="text->video")
    assert asked.query_id == embedded.ids
    assert asked.item_id == tuple(f"clip{number}" for number in clip)


def test_scored_again_it_is_the_same(run: Path):
    found = {one.direction: one for one in rescore(run, Request(split="msrvtt"))}
    for name, number in numbers(run).items():
        assert (found[name].metrics, found[name].protocol.to_dict()) == (number.metrics, number.protocol)
    banked = {one.direction: one for one in rescore(run, Request(split="msrvtt", post="query_bank"))}
    retrieval = read_record(run).retrieval
    assert retrieval is not None
    here = [one for one in retrieval.query_bank if one.split == "msrvtt"]
    assert len(here) == 9
    for one in here:
        assert (banked[one.direction].metrics, banked[one.direction].protocol.to_dict()) == (one.metrics, one.protocol)
    with pytest.raises(ValueError, match="several captions"):
        rescore(run, Request(split="msrvtt", same_caption=True, directions=("text->video",)))


def test_a_stage_without_text_sees_each_clip_once(run: Path):
    retrieval = read_record(run).retrieval
    assert retrieval is not None
    first = [n.protocol for n in retrieval.numbers if (n.stage, n.split) == ("audio+video", "msrvtt")]
    assert [(one["num_queries"], one["gallery_size"]) for one in first] == [(CLIPS, CLIPS)] * 2


def test_a_set_of_one_caption_each_is_as_ever(run: Path):
    assert {n.protocol["captions_per_item"] for n in numbers(run, "youcook2").values()} == {1}
    assert numbers(run, "youcook2")["text->video"].protocol["num_queries"] == 11
