"""Numbers behind a report of retrieval runs, against their definitions."""

from pathlib import Path

import numpy as np
import pytest
from retrieval_runs import SIZE, make_space, write_space

from awase.records import Record
from awase.report import Run, load, render_html, render_json
from awase.report.groups import Group, Table, is_fraction, is_rank, tabulate
from awase.report.retrieval_curves import curve_points
from awase.report.retrieval_lines import SpaceLines, build_space_lines
from awase.report.retrieval_numbers import by_protocol, main_of, published_number, selection_stat, space_stat
from awase.report.retrieval_stages import staged_methods
from awase.statistics import bootstrap_mean, hits, paired_difference


def table_of(*runs: tuple[str, int], **settings: object) -> Table:
    made = [Run(make_space(method, seed, **settings)[0]) for method, seed in runs]
    return tabulate(made).tables[0]


def written(folder: Path, methods: tuple[str, ...] = ("joint", "av_t"), **settings: object) -> Table:
    for method in methods:
        for seed in (0, 1):
            write_space(folder, method, seed, **settings)
    return tabulate(load([folder])).tables[0]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SpaceLines:
    """Joint and staged runs of two seeds, with their ranks."""
    return build_space_lines(written(tmp_path_factory.mktemp("spaces")))


def recall(method: str, seeds: tuple[int, ...], key: tuple[str, str, str], k: int) -> np.ndarray:
    """Hits by seed and query."""
    return np.stack([hits(make_space(method, seed)[1][key].rank, k, SIZE) for seed in seeds]).astype(float)


def test_metrics_of_ranks_are_no_shares():
    assert is_rank("MedR")
    assert is_rank("MedR text->video")
    assert is_rank("MedR_all")
    assert is_rank("youcook2 MeanR")
    assert not is_rank("R@1 text->video")
    assert is_fraction("R@1")
    assert not is_fraction("MedR")
    assert is_fraction("accuracy")


def test_folds_are_averaged_within_a_seed():
    made = [make_space("joint", seed, fold=fold)[0] for seed in (0, 1) for fold in (0, 1, 2)]
    group = Group("joint", tuple(Run(record) for record in made))
    found = space_stat(group, "joint", "test", "text->video", "R@5")
    values = [
        number.metrics["R@5"]
        for record in made
        for number in record.retrieval.numbers
        if (number.split, number.direction) == ("test", "text->video")
    ]
    per_seed = np.array(values).reshape(2, 3).mean(axis=1)
    assert found is not None
    assert found.per_seed == pytest.approx({0: per_seed[0], 1: per_seed[1]})
    assert found.std == pytest.approx(per_seed.std(ddof=1))


def test_same_text_is_none_where_it_changes_nothing():
    group = table_of(("joint", 0)).groups[0]
    assert space_stat(group, "joint", "test", "audio->video", "R@1", same_caption=True) is None
    same = space_stat(group, "joint", "test", "text->video", "R@1", same_caption=True)
    own = space_stat(group, "joint", "test", "text->video", "R@1")
    assert same is not None
    assert own is not None
    assert same.mean > own.mean


def test_text_asks_in_the_main_directions():
    assert main_of(table_of(("joint", 0))) == ("text->audio", "text->video", "text->audio+video")


@pytest.mark.parametrize("metric", ["R@1", "MedR"])
def test_validation_ranks_by_the_metric_that_chose(metric: str):
    record = make_space("joint")[0]
    entries = [
        {"split": "val", "name": metric, "value": 0.25, "count": 7},
        {"split": "val", "name": metric, "value": 0.5, "count": 7, "condition": "text->video"},
    ]
    whole = record.model_copy(update={"metrics": tuple(type(record.metrics[0])(**one) for one in entries)})
    for name, value in ((metric, 0.25), (f"{metric} text->video", 0.5)):
        stat = selection_stat(Group("joint", (Run(whole.model_copy(update={"selection_metric": name})),)))
        assert stat is not None
        assert stat.mean == value


def test_published_numbers():
    published = {"test R@1": 0.9, "test R@5": 12.5, "test MedR": 30.0, "test R@1 text->video": 7.0}
    group = table_of(("joint", 0), published=published).groups[0]
    fused = "text->audio+video"
    assert published_number(group, "test", fused, "R@1") == pytest.approx(0.009)  # percent, as 12.5 shows
    assert published_number(group, "test", fused, "MedR") == 30
    assert published_number(group, "test", "text->video", "R@1") == pytest.approx(0.07)
    assert published_number(group, "test", "text->video", "R@5") is None
    assert published_number(group, "val", fused, "R@1") is None
    assert published_number(table_of(("joint", 0)).groups[0], "test", fused, "R@1") is None


# ---- protocols


def test_other_protocols_share_no_column():
    runs = [Run(make_space("joint")[0]), Run(make_space("av_t", post_processing="querybank", normalised=True)[0])]
    first, second = by_protocol(tabulate(runs).tables[0])
    assert [group.method for group in first.groups] == ["joint"]
    assert [group.method for group in second.groups] == ["av_t"]
    assert first.dataset == "clips (normalised False, post processing none)"
    assert second.dataset == "clips (normalised True, post processing querybank)"


def test_a_run_without_a_direction_stands_with_the_others():
    whole, part = make_space("joint")[0], make_space("av_t")[0]
    own = part.retrieval
    assert own is not None
    few = tuple(n for n in own.numbers if n.direction != "text->video")
    part = part.model_copy(update={"retrieval": own.model_copy(update={"numbers": few})})
    (table,) = by_protocol(tabulate([Run(part), Run(whole)]).tables[0])
    cell = {line.group.method: line for line in build_space_lines(table).lines}["av_t"].cells["test", "text->video"]
    assert cell.stats == {}


def test_folds_of_other_sizes_share_a_column_and_splits_of_other_sizes_do_not():
    folds = [Run(make_space("joint", fold=fold, size=size)[0]) for fold, size in ((0, 23), (1, 29))]
    assert len(by_protocol(tabulate(folds).tables[0])) == 1
    alone = [Run(make_space(method, size=size)[0]) for method, size in (("joint", 23), ("av_t", 29))]
    assert len(by_protocol(tabulate(alone).tables[0])) == 2


def set_named(record: Record, name: str) -> Run:
    """The run with its test set under that name in every protocol."""
    assert record.retrieval is not None
    found = [
        n.model_copy(update={"protocol": {**n.protocol, "queries": name, "gallery": name}}) if n.split == "test" else n
        for n in record.retrieval.numbers
    ]
    return Run(record.model_copy(update={"retrieval": record.retrieval.model_copy(update={"numbers": tuple(found)})}))


def test_sets_of_another_content_share_no_column_but_folds_do():
    alone = [set_named(make_space(m)[0], f"clips test [{print_}]") for m, print_ in (("joint", "a1"), ("av_t", "b2"))]
    assert [len(part.groups) for part in by_protocol(tabulate(alone).tables[0])] == [1, 1]
    folds = [
        set_named(make_space("joint", fold=k)[0], f"clips test [{print_}]") for k, print_ in ((0, "a1"), (1, "b2"))
    ]
    assert len(by_protocol(tabulate(folds).tables[0])) == 1
    other = [set_named(make_space("joint", fold=k)[0], f"{name} test [a1]") for k, name in ((0, "clips"), (1, "films"))]
    assert len(by_protocol(tabulate(other).tables[0])) == 2


# ---- intervals and differences


def test_intervals_and_differences_come_from_the_ranks(found: SpaceLines):
    assert found.notes == ()
    assert found.reference == "joint"
    line = next(one for one in found.lines if one.group.method == "av_t")
    groups = [f"g{i // 2}" for i in range(SIZE)]
    for direction in found.main:
        key = ("joint", "test", direction)
        for k in (1, 5, 10):
            own, other = recall("av_t", (0, 1), key, k), recall("joint", (0, 1), key, k)
            cell = line.cells["test", direction]
            interval = bootstrap_mean(own, groups)
            assert cell.intervals[k].mean == pytest.approx(interval.mean)
            assert (cell.intervals[k].low, cell.intervals[k].high) == pytest.approx((interval.low, interval.high))
            assert cell.differences[k] == paired_difference(own, other, groups)
            assert cell.stats[f"R@{k}"].mean == pytest.approx(own.mean())
    joint = next(one for one in found.lines if one.group.method == "joint")
    assert all(not joint.cells["test", name].differences for name in found.main)


def test_folds_stand_side_by_side_in_intervals(tmp_path: Path):
    for fold, size in ((0, 23), (1, 29)):
        for seed in (0, 1):
            write_space(tmp_path, "joint", seed, fold=fold, size=size)
    found = build_space_lines(tabulate(load([tmp_path])).tables[0])
    interval = found.lines[0].cells["test", "text->video"].intervals[5]
    assert (interval.items, interval.seeds) == (23 + 29, 2)
    key = ("joint", "test", "text->video")
    tables = [make_space("joint", 0, fold=fold, size=size)[1][key] for fold, size in ((0, 23), (1, 29))]
    more = [make_space("joint", 1, fold=fold, size=size)[1][key] for fold, size in ((0, 23), (1, 29))]
    values = [np.concatenate([hits(one.rank, 5, 29) for one in parts]).mean() for parts in (tables, more)]
    assert interval.mean == pytest.approx(np.mean(values))


def test_without_ranks_there_are_numbers_and_a_note(tmp_path: Path):
    write_space(tmp_path, "joint", with_ranks=False)
    found = build_space_lines(tabulate(load([tmp_path])).tables[0])
    cell = found.lines[0].cells["test", "text->video"]
    assert (cell.intervals, cell.differences) == ({}, {})
    assert "R@1" in cell.stats
    assert found.notes == ("No interval for joint: the ranks of some of its runs are not beside their records.",)


def test_where_most_queries_are_missing_the_median_over_all_is_infinite():
    """A query whose item is missing stands at infinity; with more than half of them no deviation can be given."""
    records = [make_space("joint", seed)[0] for seed in (0, 1)]
    changed = []
    for record in records:
        assert record.retrieval is not None
        lost = [n.model_copy(update={"metrics": {**n.metrics, "MedR_all": np.inf}}) for n in record.retrieval.numbers]
        retrieval = record.retrieval.model_copy(update={"numbers": tuple(lost)})
        changed.append(record.model_copy(update={"retrieval": retrieval}))
    runs = [Run(type(record).model_validate_json(record.model_dump_json())) for record in changed]
    found = space_stat(Group("joint", tuple(runs)), "joint", "test", "text->video", "MedR_all")
    assert found is not None
    assert (found.mean, found.std) == (np.inf, None)
    assert '<td class="number">∞</td>' in render_html(runs)
    assert "Infinity" not in render_json(runs)


def test_the_best_is_chosen_on_validation():
    found = build_space_lines(table_of(("av_t", 0), ("joint", 0)))
    assert found.best is not None
    assert found.best.group.method == "joint"


# ---- stages


def test_scores_after_stages_and_their_measures(found: SpaceLines):
    (staged,) = staged_methods(found, "test")
    assert staged.stages == ("audio+video", "joint")
    for j, task in enumerate(staged.tasks):
        star = recall("joint", (0, 1), ("joint", "test", task), 1).mean()
        last = recall("av_t", (0, 1), ("joint", "test", task), 1).mean()
        measures, intervals = staged.metrics.tasks[j], staged.intervals[j]
        assert intervals is not None
        assert measures.final == pytest.approx(last)
        assert measures.gap == pytest.approx(star - last)
        if task in ("audio->video", "video->audio"):
            early = recall("av_t", (0, 1), ("audio+video", "test", task), 1).mean()
            assert staged.first[j] == 0
            assert measures.forgetting == pytest.approx(max(early, last) - last)
            assert measures.backward == pytest.approx(last - early)
            assert intervals.backward is not None
            assert intervals.backward.mean == pytest.approx(last - early)
            assert measures.intransigence == pytest.approx(star - max(early, last))
        else:
            assert staged.first[j] == 1
            assert measures.forgetting is None
            assert intervals.forgetting is None
            assert measures.intransigence == pytest.approx(star - last)
        assert intervals.gap is not None
        assert intervals.gap.mean == pytest.approx(measures.gap)
    assert staged.deviation is not None
    assert staged.deviation < 1e-12


def test_the_reference_is_that_of_the_runs_the_method_has():
    """Joint training was run with two seeds, the staged method with one of them."""
    (staged,) = staged_methods(build_space_lines(table_of(("joint", 0), ("joint", 1), ("av_t", 0))), "test")
    place = staged.tasks.index("text->audio")
    assert staged.joint is not None
    own = recall("joint", (0,), ("joint", "test", "text->audio"), 1).mean()
    assert own != recall("joint", (0, 1), ("joint", "test", "text->audio"), 1).mean()
    assert staged.joint[place].mean == pytest.approx(own)


def test_a_direction_that_no_stage_trains_has_a_gap_alone():
    found = build_space_lines(table_of(("joint", 0), ("at_v", 0)))
    (staged,) = staged_methods(found, "test")
    place = staged.tasks.index("video->text")
    measures = staged.metrics.tasks[place]
    assert staged.first[place] is None
    assert (measures.forgetting, measures.intransigence, measures.learned) == (None, None, None)
    assert measures.gap is not None
    assert staged.intervals[place] is None  # without ranks


def test_without_joint_training_there_is_no_reference():
    (staged,) = staged_methods(build_space_lines(table_of(("av_t", 0))), "test")
    assert staged.joint is None
    assert staged.deviation is None
    assert all(task.gap is None for task in staged.metrics.tasks)


# ---- curves


def test_curves_run_on_over_stages():
    group = table_of(("av_t", 0), ("av_t", 1)).groups[0]
    points, begins = curve_points(group, ["audio->video", "text->video"], "R@1")
    assert begins == {"audio+video": 0, "joint": 2}
    assert points["audio->video"] == {k: pytest.approx([v, v + 0.01]) for k, v in enumerate((0, 0.1, 0, 0.1, 0.2))}
    assert set(points["text->video"]) == {2, 3, 4}


def test_a_third_stage_begins_after_both_others():
    record = make_space("av_t")[0]
    assert record.retrieval is not None
    third = record.stages[1].model_copy(update={"name": "third"})
    pairs = {**record.retrieval.pairs, "third": ("audio+video",)}
    longer = record.model_copy(
        update={
            "stages": (*record.stages, third),
            "retrieval": record.retrieval.model_copy(update={"pairs": pairs}),
        }
    )
    points, begins = curve_points(Group("av_t", (Run(longer),)), ["audio->video"], "R@1")
    assert begins == {"audio+video": 0, "joint": 2, "third": 5}
    assert sorted(points["audio->video"]) == list(range(8))
