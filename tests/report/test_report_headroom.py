"""The verdict on made rank tables, and the numbers it rests on from made runs."""

from pathlib import Path

import numpy as np
import pytest
from report_records import make_record
from retrieval_runs import protocol

from awase.config import MethodConfig
from awase.methods.headroom import ADAPTERS, JOINT, LONGER, WIDE, alone, headroom_methods, heads
from awase.records import RetrievalRecord, write_record
from awase.report import load
from awase.report.groups import Group
from awase.report.headroom import BOTH, COMPARED, headroom_of
from awase.report.headroom_text import render_headroom
from awase.report.headroom_verdict import Verdict, overall, verdict
from awase.statistics import RANKS_NAME, RankTable, compare_recall, hits, join_ranks, paired_difference, write_ranks

SIZE, SEEDS = 61, (0, 3)
MODALITIES = ("video", "audio", "text")
NAMES = (JOINT, WIDE, LONGER, ADAPTERS, "alone", "heads")


def ranks_of(found: int, start: int = 0, direction: str = "text->video", size: int = SIZE) -> RankTable:
    """The first rank for `found` queries from `start` on, rank 5 for the others."""
    rank = np.full(size, 5)
    rank[start : start + found] = 0
    ids = tuple(f"q{i}" for i in range(size))
    columns = {"stage": "joint", "split": "test", "direction": direction, "post_processing": "none"}
    return RankTable(
        ids,
        ids,
        rank=rank,
        rank_same_caption=rank,
        protocols={("test", direction, "none"): protocol(direction, "test", size)},
        **{name: (value,) * size for name, value in columns.items()},
    )


def differences(**found: RankTable):
    """Differences of tables by name (`joint_wide` for `joint-wide`); what is not named is as the joint space."""
    tables = {name: found.get(name.replace("-", "_"), found[JOINT]) for name in NAMES}
    runs = {name: dict.fromkeys(SEEDS, table) for name, table in tables.items()}
    return {f"{a} - {b}": compare_recall(runs[a], runs[b], 1, SIZE)[0] for a, b in COMPARED}


def test_a_gain_whose_interval_lies_above_zero_is_worth_it():
    found = differences(joint=ranks_of(20), alone=ranks_of(41))
    one = verdict("text+video", found)
    assert (one.kind, one.unseen) == ("worth it", None)
    assert one.sentence.startswith("worth it: alone it finds +34.4 [")
    assert "as many numbers it is +34.4 [" in one.sentence
    assert "that these adapters reach any of it is not seen (+0.0 [" in one.sentence


def test_what_adapters_reach_and_what_a_wider_space_does_too():
    found = differences(joint=ranks_of(20), alone=ranks_of(41), joint_wide=ranks_of(40), pair_adapters=ranks_of(35))
    text = verdict("text+video", found).sentence
    assert "as many numbers it is not seen (+1.6 [" in text
    assert "it may be one of width; adapters reach +24.6 [" in text


def test_what_is_not_seen_has_a_limit_and_is_never_no_difference():
    found = differences(joint=ranks_of(20), alone=ranks_of(21, start=2))
    gain = found["alone - joint"]
    assert gain.low <= 0 < gain.difference < gain.high
    one = verdict("text+video", found)
    assert one.kind == "not worth it as far as can be seen"
    assert one.unseen == max(gain.high, gain.smallest_detectable) > 0
    limit = float(one.sentence.partition("smaller than ")[2].partition(" points")[0])
    assert 100 * one.unseen <= limit < 100 * one.unseen + 0.1
    assert "no difference" not in one.sentence


def test_a_shared_space_that_is_better_is_called_so():
    one = verdict("text+video", differences(joint=ranks_of(41), alone=ranks_of(20)))
    assert one.kind == "not worth it as far as can be seen"
    assert one.unseen is not None
    assert one.unseen > 0
    assert "the shared space is the better one" in one.sentence


@pytest.mark.parametrize(("longer", "words"), [(20, "also over"), (41, "but not, as far as can be seen, over")])
def test_adapters_may_gain_where_a_model_of_its_own_does_not(longer: int, words: str):
    found = differences(
        joint=ranks_of(20), alone=ranks_of(20, start=2), pair_adapters=ranks_of(41), joint_longer=ranks_of(longer)
    )
    text = verdict("text+video", found).sentence
    assert f"points, {words} a shared space trained as long (" in text
    assert text.startswith("not worth it on this data as far as can be seen: ")


def test_nothing_is_said_where_every_draw_gives_the_same():
    one = verdict("text+video", differences(joint=ranks_of(20), alone=ranks_of(20)))
    assert (one.kind, one.unseen) == ("cannot be said", None)


def test_the_sentence_names_every_pair():
    worth, unseen = (
        Verdict("a+b", "worth it", None, ""),
        Verdict("a+c", "not worth it as far as can be seen", 0.0321, ""),
    )
    more, unknown = Verdict("b+c", unseen.kind, 0.02, ""), Verdict("c+d", "cannot be said", None, "")
    assert overall([worth, unseen, more, unknown]) == (
        "On this data adapters have something to gain for a+b; for a+c, b+c nothing to gain is seen, and gains under "
        "3.3 points may be missed; for c+d it cannot be said."
    )
    assert (
        overall([unseen]) == "On this data for a+c nothing to gain is seen, and gains under 3.3 points may be missed."
    )


# ---- from runs ------------------------------------------------------------------------------------------------------


def found_by(label: str, seed: int, direction: str) -> int:
    """How many queries a made run finds: more alone, and most of text and video."""
    base = 11 + 2 * seed + len(direction)
    return base + 25 * (label == "alone-text+video") + 3 * (label == ADAPTERS)


def write_runs(folder: Path) -> dict[str, Group]:
    methods = headroom_methods(
        MODALITIES, MethodConfig(method="mcn", settings={"retrieval": {"space": {"dim": 13}}}), None, 5
    )
    groups = {}
    for number, method in enumerate(methods):
        label = method.title
        pairs = (label.partition("-")[2],) if "+" in label else ("audio+video", "text+video", "audio+text")
        ways = [way for a, b in (pair.split("+") for pair in pairs) for way in (f"{a}->{b}", f"{b}->{a}")]
        for seed in SEEDS:
            run = folder / label / f"seed-{seed}"
            record = make_record(
                label,
                seed,
                trainable_parameters=100 + number,
                config={"method": method.model_dump(mode="json")},
                retrieval=RetrievalRecord(score="cosine", pairs={"joint": pairs}, numbers=()),
            )
            write_record(run, record)
            write_ranks(
                run / RANKS_NAME, join_ranks([ranks_of(found_by(label, seed, way), direction=way) for way in ways])
            )
        groups[label] = Group(label, tuple(load([folder / label])))
    return groups


def test_numbers_of_a_pair_are_those_of_its_ranks(tmp_path: Path):
    found = headroom_of(write_runs(tmp_path), MODALITIES)
    assert [one.pair for one in found.pairs] == ["audio+video", "text+video", "audio+text"]
    assert [one.verdict.kind for one in found.pairs].count("worth it") == 1
    pair = found.pairs[1]
    assert pair.verdict.kind == "worth it"
    ways = ("text->video", "video->text")
    assert [one.direction for one in pair.asked] == [*ways, BOTH]
    share = {
        (label, way): np.mean([found_by(label, seed, way) / SIZE for seed in SEEDS])
        for label in (JOINT, WIDE, ADAPTERS, "alone-text+video")
        for way in ways
    }
    for one in pair.asked[:2]:
        assert one.task_agnostic.keys() == {JOINT, WIDE, LONGER}
        assert one.task_aware.keys() == {ADAPTERS, "alone", "heads"}
        assert one.task_agnostic[JOINT] == pytest.approx(share[JOINT, one.direction])
        assert one.task_aware["alone"] == pytest.approx(share["alone-text+video", one.direction])
        assert one.differences[f"{ADAPTERS} - {JOINT}"].difference == pytest.approx(3 / SIZE)
    both = pair.asked[2]
    assert both.task_agnostic[JOINT] == pytest.approx(np.mean([share[JOINT, way] for way in ways]))


def test_k_is_the_rank_up_to_which_an_answer_counts(tmp_path: Path):
    """What is not found at once is the sixth."""
    groups = write_runs(tmp_path)
    first, fifth, sixth = (headroom_of(groups, MODALITIES, k=k) for k in (1, 5, 6))
    assert [one.task_agnostic for one in fifth.pairs[1].asked] == [one.task_agnostic for one in first.pairs[1].asked]
    assert all(0 < share < 1 for one in first.pairs[1].asked for share in one.task_agnostic.values())
    assert all(share == 1 for one in sixth.pairs[1].asked for share in one.task_agnostic.values())
    assert all(share == 1 for one in sixth.pairs[1].asked for share in one.task_aware.values())
    assert all(found.difference == 0 for one in sixth.pairs[1].asked for found in one.differences.values())
    text = render_headroom(fifth)
    assert "R@5" in text
    assert "R@1" not in text
    assert "more up to rank 5 than the shared space" in text


def test_both_directions_of_a_sample_are_drawn_as_one(tmp_path: Path):
    """By the definition: a sample's score is the mean of its two, drawn with the seeds."""
    pair = headroom_of(write_runs(tmp_path), MODALITIES).pairs[1]
    scores = {
        label: np.stack(
            [
                np.mean(
                    [hits(ranks_of(found_by(label, s, way)).rank, 1, SIZE) for way in ("text->video", "video->text")], 0
                )
                for s in SEEDS
            ]
        )
        for label in ("alone-text+video", JOINT)
    }
    slow, found = (
        paired_difference(scores["alone-text+video"], scores[JOINT]),
        pair.asked[2].differences["alone - joint"],
    )
    for name in ("difference", "low", "high", "standard_error", "smallest_detectable"):
        assert getattr(found, name) == pytest.approx(getattr(slow, name), abs=1e-9)
    assert (found.seeds, found.items, found.groups) == (2, 2 * SIZE, SIZE)


def test_costs_count_every_model(tmp_path: Path):
    costs = headroom_of(write_runs(tmp_path), MODALITIES).costs
    assert {name: cost.stored for name, cost in costs.items()} == {
        JOINT: 39, WIDE: 78, LONGER: 39, ADAPTERS: 78, "alone": 78, "heads": 78
    }  # fmt: skip
    assert {name: cost.trained for name, cost in costs.items()} == {
        JOINT: 100, WIDE: 101, LONGER: 102, "alone": 103 + 104 + 105, "heads": 106 + 107 + 108, ADAPTERS: 109
    }  # fmt: skip


def test_the_page_keeps_both_kinds_of_numbers_apart(tmp_path: Path):
    text = render_headroom(headroom_of(write_runs(tmp_path), MODALITIES))
    rows = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| task-")]
    assert rows == 3 * [
        *(f"task-agnostic: {name}" for name in (JOINT, WIDE, LONGER)),
        *(f"task-aware: {name}" for name in ("adapters", "alone", "heads")),
    ]
    assert text.count("## ") == 3
    assert "no difference" not in text


def test_refusals(tmp_path: Path):
    groups = write_runs(tmp_path)
    with pytest.raises(ValueError, match="joint has no ranks of audio->video on youcook2; name another --split"):
        headroom_of(groups, MODALITIES, "youcook2")
    (tmp_path / alone("text+video") / "seed-0" / "ranks.parquet").unlink()
    (tmp_path / heads("text+video") / "seed-3" / "ranks.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"alone-text\+video, heads-text\+video has no ranks.parquet"):
        headroom_of(groups, MODALITIES)
