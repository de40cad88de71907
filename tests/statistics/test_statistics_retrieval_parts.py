import numpy as np
import pytest

from awase.statistics import (
    Found,
    RankTable,
    Ratio,
    RetrievalProtocol,
    WorstQueries,
    WorstQuery,
    compare_recall,
    compare_recalls,
    gallery_of,
    is_pair,
    main_directions,
    paired_difference,
    paired_differences,
    query_of,
    read_worst,
    write_worst,
)

EVERY = (
    "video->audio",
    "video->text",
    "audio->video",
    "audio->text",
    "text->video",
    "text->audio",
    "video->audio+text",
    "text->audio+video",
)


def table(ranks: np.ndarray, direction: str = "a->b", stage: str = "joint") -> RankTable:
    n = len(ranks)
    protocol = RetrievalProtocol("test", "test", n, 29, direction, "a.b")
    return RankTable(
        tuple(f"q{i}" for i in range(n)),
        tuple(f"q{i}" for i in range(n)),
        (stage,) * n,
        ("test",) * n,
        (direction,) * n,
        ("none",) * n,
        rank=ranks.astype(np.int64),
        rank_same_caption=ranks.astype(np.int64),
        groups=tuple(f"g{i // 2}" for i in range(n)),
        protocols={("test", direction, "none"): protocol},
    )


def test_names_of_directions():
    assert query_of("text->audio+video") == "text"
    assert gallery_of("text->audio+video") == ("audio", "video")
    assert is_pair("a->b")
    assert not is_pair("text->audio+video")


def test_main_directions_are_those_of_the_text():
    assert main_directions(EVERY, "text") == ("text->audio", "text->video", "text->audio+video")
    assert main_directions(EVERY, "video") == ("video->audio", "video->text", "video->audio+text")
    # what does not ask is replaced by the last modality
    assert (
        main_directions(EVERY, "smell")
        == main_directions(EVERY)
        == ("video->audio", "video->text", "video->audio+text")
    )
    assert main_directions(("b->a", "a->b"), "b") == ("a->b", "b->a")
    many = [f"q->{name}" for name in "abcde"] + ["q->a+b+c+d+e"]
    assert main_directions(many, "q") == ("q->a", "q->b", "q->c", "q->a+b+c+d+e")


def test_parts_are_what_select_gives():
    from awase.statistics import join_ranks

    whole = join_ranks(
        [table(np.array([3, 1, 2])), table(np.array([5, 0]), "b->a"), table(np.array([7, 0, 8]), stage="old")]
    )
    parts = whole.parts()
    assert set(parts) == {
        ("joint", "test", "a->b", "none"),
        ("joint", "test", "b->a", "none"),
        ("old", "test", "a->b", "none"),
    }
    for (stage, split, direction, post), part in parts.items():
        chosen = whole.select(stage=stage, split=split, direction=direction, post_processing=post)
        assert part.query_id == chosen.query_id
        assert part.groups == chosen.groups
        assert part.protocol == chosen.protocol
        np.testing.assert_array_equal(part.rank, chosen.rank)


def test_several_differences_are_each_what_it_is_alone():
    rng = np.random.default_rng(3)
    a = [(rng.random((3, 11)) < share).astype(float) for share in (0.3, 0.6)]
    b = [(rng.random((3, 11)) < share).astype(float) for share in (0.2, 0.7)]
    groups = [f"g{i // 3}" for i in range(11)]
    found = paired_differences(a, b, groups, resamples=101)
    assert found == tuple(paired_difference(x, y, groups, resamples=101) for x, y in zip(a, b, strict=True))
    with pytest.raises(ValueError, match=r"\(3, 11\) against \(3, 7\)"):
        paired_differences([Ratio(a[0], a[1])], [Ratio(b[0][:, :7], b[1][:, :7])])


def test_differences_of_recall_by_k():
    rng = np.random.default_rng(5)
    a, b = ({seed: table(rng.integers(-1, 29, size=13)) for seed in (0, 1)} for _ in range(2))
    found, left_out = compare_recalls(a, b, (1, 5), 29)
    assert left_out == 0
    assert found == {k: compare_recall(a, b, k, 29)[0] for k in (1, 5)}


def test_worst_queries_are_read_back(tmp_path):
    queries = (WorstQuery("q1", 6, 0.25, (Found("v2", 0.5, "a “dog”"), Found("v3", 0.4)), "ein Hund\nbellt"),)
    parts = [
        WorstQueries("joint", "test", "text->video", 7, 2, queries),
        WorstQueries("joint", "val", "a->b", 3, 0, ()),
    ]
    write_worst(tmp_path, parts)
    assert read_worst(tmp_path) == parts


def test_no_worst_queries_where_there_is_no_file_or_another_format(tmp_path):
    assert read_worst(tmp_path) == []
    file = write_worst(tmp_path, [])
    file.write_text(file.read_text().replace('"format_version": 1', '"format_version": 2'))
    assert read_worst(tmp_path) == []
