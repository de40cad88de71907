import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from awase.statistics import (
    RankTable,
    RetrievalProtocol,
    bootstrap_mean,
    compare_recall,
    hits,
    join_ranks,
    one_protocol,
    paired_difference,
    read_ranks,
    recall_scores,
    retrieval_metrics,
    write_ranks,
)

PROTOCOL = RetrievalProtocol("validation", "validation", 11, 11, "text->video", "t.v")


def table(ranks: list[int], *, first: int = 0, stage: str = "joint", groups: bool = True, **changes: str) -> RankTable:
    n = len(ranks)
    texts = {"split": "test", "direction": "text->video", "post_processing": "none"} | changes
    columns = {name: (value,) * n for name, value in texts.items()}
    rank = np.array(ranks, dtype=np.int64)
    return RankTable(
        tuple(f"q{i + first}" for i in range(n)),
        tuple(f"v{i + first}" for i in range(n)),
        (stage,) * n,
        rank=rank,
        rank_same_caption=np.minimum(rank, 1),
        groups=tuple(f"g{(i + first) // 3}" for i in range(n)) if groups else None,
        protocols={tuple(texts.values()): PROTOCOL},
        **columns,
    )


def test_metrics_worked_by_hand():
    result = retrieval_metrics(np.array([0, 4, -1, 1]), 7, (1, 5))
    assert result.recall == {1: 1 / 4, 5: 3 / 4}
    assert (result.median_rank, result.median_rank_all) == (2.0, 3.5)
    assert result.mean_rank == pytest.approx(8 / 3, rel=1e-15)
    assert result.mean_log_rank == pytest.approx(math.log(1 * 5 * 2) / 3, rel=1e-15)
    assert (result.queries, result.found, result.gallery) == (4, 3, 7)


def test_missing_clips_are_failures_in_recall_and_at_infinity_in_the_median_over_all():
    result = retrieval_metrics(np.array([0, 0, -1, -1, -1]), 11)
    assert result.recall == {1: 0.4, 5: 0.4, 10: 0.4}
    assert (result.median_rank, result.median_rank_all) == (1.0, math.inf)
    assert retrieval_metrics(np.array([2, -1]), 11).median_rank_all == math.inf


def test_nothing_found():
    result = retrieval_metrics(np.array([-1, -1]), 11)
    assert result.recall[10] == 0.0
    assert math.isnan(result.median_rank)
    assert math.isnan(result.mean_rank)
    assert result.median_rank_all == math.inf


def test_metrics_equal_the_definition():
    ranks = np.random.default_rng(0).integers(-1, 97, 101)
    result = retrieval_metrics(ranks, 97, (1, 13))
    assert result.recall[13] == sum(1 for rank in ranks if 0 <= rank < 13) / 101
    assert result.median_rank == np.median([rank + 1 for rank in ranks if rank >= 0])
    assert result.median_rank_all == np.median([rank + 1 if rank >= 0 else math.inf for rank in ranks])


def test_chance_on_youcook2():
    """A random order of 3350 clips: R@1, R@5, R@10 and MedR of the leaderboard's first row (0.0, 0.2, 0.3, 1675)."""
    result = retrieval_metrics(np.arange(3350), 3350)
    assert [round(100 * value, 2) for value in result.recall.values()] == [0.03, 0.15, 0.3]
    assert result.median_rank == 1675.5


@pytest.mark.parametrize("k", [0, 7, 10])
def test_a_gallery_that_is_not_larger_than_k_is_refused(k: int):
    with pytest.raises(ValueError, match="of a gallery of 7 says nothing"):
        hits(np.array([0, 4]), k, 7)


def test_bad_ranks_are_refused():
    with pytest.raises(ValueError, match="no query"):
        hits(np.array([], dtype=np.int64), 1, 7)
    for wrong in (-2, 7):
        with pytest.raises(ValueError, match="between 0 and 6"):
            retrieval_metrics(np.array([0, wrong]), 7)


def test_standard_error_of_youcook2():
    """3350 queries at R@1 = 16.8 %: sqrt(p (1 - p) / N) is 0.65 points."""
    ranks = np.where(np.arange(3350) < 563, 0, 99)
    values = hits(ranks, 1, 3350).astype(float)[None]
    assert round(values.mean(), 3) == 0.168
    # 2000 draws know a standard error to about 1.6 %, so to 0.01 points
    assert bootstrap_mean(values).standard_error == pytest.approx(0.0065, abs=3e-4)
    assert math.sqrt(0.168 * 0.832 / 3350) == pytest.approx(0.0065, abs=5e-5)


@pytest.mark.parametrize("groups", [False, True])
def test_file_gives_back_what_was_written(tmp_path: Path, groups: bool):
    parts = [table([0, 3, -1], groups=groups), table([1, 2, 5], stage="second", groups=groups)]
    written = join_ranks(parts)
    write_ranks(tmp_path / "deep" / "ranks.parquet", written)
    read = read_ranks(tmp_path / "deep")
    assert read.query_id == written.query_id
    assert read.stage == ("joint",) * 3 + ("second",) * 3
    assert read.rank.tolist() == [0, 3, -1, 1, 2, 5]
    assert read.rank_same_caption.tolist() == [0, 1, -1, 1, 1, 1]
    assert read.groups == written.groups
    assert read.protocols == written.protocols == {("test", "text->video", "none"): PROTOCOL}
    assert read.protocol == PROTOCOL


def test_files_of_another_format_are_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"holds no ranks\.parquet"):
        read_ranks(tmp_path)
    file = tmp_path / "ranks.parquet"
    write_ranks(file, table([0]))
    changed = pq.read_table(file).replace_schema_metadata({b"awase.ranks": b"99"})
    pq.write_table(changed, file)
    with pytest.raises(ValueError, match="format version 99"):
        read_ranks(file)


def test_rows_are_selected_by_name():
    joined = join_ranks([table([0, 3]), table([1, 2], stage="second"), table([4, 5], direction="video->text")])
    assert joined.select(stage="joint", direction="text->video").rank.tolist() == [0, 3]
    with pytest.raises(ValueError, match="There is stage: joint, second"):
        joined.select(stage="third")
    with pytest.raises(ValueError, match="given: seed"):
        joined.select(seed="1")
    with pytest.raises(ValueError, match="select one of"):
        _ = joined.protocol


def test_joining_refuses_two_ranks_of_one_query_and_two_protocols():
    with pytest.raises(ValueError, match="two ranks"):
        join_ranks([table([0, 3]), table([1, 2])])
    other = table([1, 2], stage="second")
    other.protocols[("test", "text->video", "none")] = replace(PROTOCOL, gallery_size=13)
    with pytest.raises(ValueError, match="gallery_size differ"):
        join_ranks([table([0, 3]), other])
    with pytest.raises(ValueError, match="one entry per query"):
        replace(table([0, 3]), stage=("joint",))


def test_numbers_share_a_column_where_their_protocols_are_equal():
    assert one_protocol([PROTOCOL, replace(PROTOCOL)]) == PROTOCOL
    for change in (
        {"score": "t.(v+a)"},
        {"gallery_size": 968},
        {"post_processing": "querybank"},
        {"ties": "optimistic"},
    ):
        other = replace(PROTOCOL, **change)
        assert PROTOCOL.differences(other) == tuple(change)
        with pytest.raises(ValueError, match=next(iter(change))):
            one_protocol([PROTOCOL, other])
    with pytest.raises(ValueError, match="no protocol"):
        one_protocol([])


def test_protocol_as_plain_values_and_in_words():
    other = replace(PROTOCOL, missing_items=2, post_processing="transductive_sinkhorn")
    assert RetrievalProtocol.from_dict(other.to_dict()) == other
    assert (PROTOCOL.transductive, other.transductive) == (False, True)
    assert other.candidates == 9
    assert "score t.v of raw vectors" in other.sentence
    with pytest.raises(ValueError, match="'colour'"):
        RetrievalProtocol.from_dict(other.to_dict() | {"colour": 1})


def test_difference_of_recall_is_paired_by_query_and_crossed_with_seeds():
    rng = np.random.default_rng(3)
    runs = [{seed: table(rng.integers(-1, 11, 29).tolist()) for seed in (0, 1, 2)} for _ in range(2)]
    b = {seed: part.take(rng.permutation(29).tolist()) for seed, part in runs[1].items()}
    difference, left_out = compare_recall(runs[0], b | {9: table([0])}, 5, 11)
    values = [np.array([[0 <= r < 5 for r in run[s].rank] for s in (0, 1, 2)], dtype=float) for run in runs]
    assert difference == paired_difference(*values, table([0] * 29).groups)
    assert (difference.seeds, difference.items, difference.groups, left_out) == (3, 29, 10, 0)
    assert difference.smallest_detectable == 2.8 * difference.standard_error
    loose = compare_recall(runs[0], b, 1, 11, same_caption=True)[0]
    assert loose.difference == pytest.approx(
        np.mean([runs[0][s].rank_same_caption == 0 for s in (0, 1, 2)])
        - np.mean([runs[1][s].rank_same_caption == 0 for s in (0, 1, 2)]),
        abs=1e-12,
    )


def test_queries_that_only_some_have_are_counted():
    scores = recall_scores({0: table([0, 1, 2, 3]), 1: table([0, 0, 0], first=2)}, 1, 11)
    assert scores.queries == ("q2", "q3")
    assert scores.hits.tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert (scores.seeds, scores.groups, scores.left_out) == ((0, 1), ("g0", "g1"), 3)


def test_what_cannot_be_compared_is_refused():
    a = table([0, 1])
    with pytest.raises(ValueError, match="share no seed"):
        compare_recall({0: a}, {1: a}, 1, 11)
    with pytest.raises(ValueError, match="no query in common"):
        compare_recall({0: a}, {0: table([0, 1], first=5)}, 1, 11)
    with pytest.raises(ValueError, match="comes twice"):
        compare_recall({0: a}, {0: join_ranks([a, table([2, 3], stage="second")])}, 1, 11)
    with pytest.raises(ValueError, match="disagree about which item"):
        compare_recall({0: a}, {0: replace(a, item_id=("v1", "v0"))}, 1, 11)
    other = replace(a, protocols={("test", "text->video", "none"): replace(PROTOCOL, score="t.a")})
    with pytest.raises(ValueError, match=r"score: 't\.a', 't\.v'"):
        compare_recall({0: a}, {0: other}, 1, 11)
