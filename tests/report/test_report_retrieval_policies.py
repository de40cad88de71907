"""Which policy a staged method had, and how much of naive staging's gap it closed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from retrieval_runs import write_space

from awase.report.groups import tabulate
from awase.report.html import Html
from awase.report.load import load
from awase.report.retrieval_lines import SpaceLines, build_space_lines
from awase.report.retrieval_matrix import stages_section
from awase.report.retrieval_policies import closed, naive_of, policy_of
from awase.report.retrieval_shape import shape_section
from awase.report.retrieval_stages import Staged, staged_methods


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SpaceLines:
    folder: Path = tmp_path_factory.mktemp("policies")
    for method in ("joint", "av_t"):
        for seed in (0, 1):
            write_space(folder, method, seed)
    return build_space_lines(tabulate(load([folder])).tables[0])


def under(one: Staged, staged: dict[str, Any] | None, space: dict[str, Any] | None = None) -> Staged:
    """The method as if it had been configured so."""
    settings = {"retrieval": space or {}, **({} if staged is None else {"staged": staged})}
    runs = tuple(
        replace(run, record=run.record.model_copy(update={"config": {"method": {"settings": settings}}}))
        for run in one.group.runs
    )
    return replace(one, group=replace(one.group, runs=runs))


AV = {"first": ["video", "audio"]}


def test_a_policy_is_named(found: SpaceLines) -> None:
    (one,) = staged_methods(found, "test")
    assert policy_of(one.group) == policy_of(under(one, None).group) == "–"
    named = {
        "naive": AV,
        "replay + ewc": {**AV, "policy": [{"name": "replay"}, {"name": "ewc", "weight": 3.0}]},
        "freeze": {**AV, "freeze": True},
    }
    for name, staged in named.items():
        assert policy_of(under(one, staged).group) == name


def test_the_gap_is_that_of_naive_staging_in_the_same_order(found: SpaceLines) -> None:
    (one,) = staged_methods(found, "test")
    naive, held = under(one, AV), under(one, {**AV, "policy": [{"name": "ewc"}]})
    others = [
        under(one, {**AV, "second": "relaxed"}),
        under(one, {"first": ["audio", "text"]}),
        under(one, AV, {"space": {"dim": 3}}),
    ]
    assert naive_of(held, [held, *others, naive]) is naive
    assert naive_of(held, [held, *others]) is None
    turned = under(one, {"first": ["audio", "video"], "policy": [{"name": "ewc"}]})
    assert naive_of(turned, [naive]) is naive
    for low in (-0.01, 0.0, 0.01):
        for place, task in enumerate(held.tasks):
            intervals = list(naive.intervals)
            intervals[place] = replace(intervals[place], gap=replace(intervals[place].gap, low=low))
            before = replace(naive, intervals=tuple(intervals))
            last, star = naive.metrics.tasks[place].final, naive.joint[place].mean
            tasks = list(held.metrics.tasks)
            tasks[place] = replace(tasks[place], final=0.3)
            moved = replace(held, metrics=replace(held.metrics, tasks=tuple(tasks)))
            expected = pytest.approx((0.3 - last) / (star - last)) if low > 0 and star > last else None
            assert closed(moved, before, place) == expected, task
    assert any(naive.joint[place].mean > task.final for place, task in enumerate(naive.metrics.tasks))
    assert closed(naive, naive, 0) is None
    assert closed(held, replace(naive, joint=None), 0) is None


def test_the_page_shows_policies_and_shares(found: SpaceLines) -> None:
    shown: Html = stages_section(found)
    assert "policy" in str(shown)
    assert "gap closed" in str(shown)


def test_drift_and_old_indexes_have_tables_where_they_are_known(found: SpaceLines) -> None:
    before = str(shape_section(found))
    assert "Drift since" not in before
    for run in (run for group in found.table.groups for run in group.runs):
        geometry = run.record.retrieval.geometry
        for shapes in geometry.values():
            shapes["test"] = {**shapes["test"], "drift video": 0.25, "old_index audio->video": 0.12}
    after = str(shape_section(found))
    assert "Drift since" in after
    assert "0.25" in after
    assert "New queries in the gallery" in after
    assert ">12<" in after
