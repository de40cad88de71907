import re
from pathlib import Path

import pytest
from retrieval_runs import SIZE, make_space, write_space

from awase.report import load
from awase.report.groups import Group
from awase.report.retrieval_compare import compare_spaces
from awase.statistics import compare_recall


def group(folder: Path) -> Group:
    return Group(folder.name, tuple(load([folder])))


def both(folder: Path, **settings: object) -> tuple[Group, Group]:
    for seed in (0, 1):
        write_space(folder, "joint", seed)
        write_space(folder, "av_t", seed, **settings)
    return group(folder / "joint"), group(folder / "av_t")


def test_differences_are_those_of_compare_recall(tmp_path: Path):
    a, b = both(tmp_path)
    found = compare_spaces(a, b)
    assert [one.direction for one in found] == list(dict.fromkeys(n.direction for n in numbers(a)))
    one = next(part for part in found if part.direction == "text->video")
    key = ("joint", "test", "text->video")
    tables = [{seed: make_space(method, seed)[1][key] for seed in (0, 1)} for method in ("joint", "av_t")]
    assert one.differences == {k: compare_recall(*tables, k, SIZE)[0] for k in (1, 5, 10)}
    assert one.left_out == 0
    assert one.protocol.startswith("text->video: 23 queries")


def numbers(found: Group) -> list:
    retrieval = found.runs[0].record.retrieval
    assert retrieval is not None
    return [number for number in retrieval.numbers if number.split == "test"]


def test_chosen_directions_and_k(tmp_path: Path):
    a, b = both(tmp_path)
    (one,) = compare_spaces(a, b, "val", ("video->text",), (3,))
    assert (one.direction, list(one.differences)) == ("video->text", [3])


def test_refusals(tmp_path: Path):
    a, b = both(tmp_path)
    with pytest.raises(ValueError, match=re.escape("video->audio+text; given: text->smell.")):
        compare_spaces(a, b, directions=("text->smell",))
    with pytest.raises(ValueError, match=r"the directions none; name another --split\."):
        compare_spaces(a, b, "msrvtt")
    with pytest.raises(ValueError, match="R@23 of a gallery of 23 says nothing"):
        compare_spaces(a, b, ks=(23,))
    write_space(tmp_path / "bare", "joint", with_ranks=False)
    with pytest.raises(FileNotFoundError, match=r"no ranks\.parquet"):
        compare_spaces(a, group(tmp_path / "bare"))


def test_other_protocols_are_not_compared(tmp_path: Path):
    a, b = both(tmp_path, post_processing="querybank")
    with pytest.raises(ValueError, match="post_processing"):
        compare_spaces(a, b)
