from pathlib import Path

import numpy as np
import pytest
from report_records import METHODS, all_records, make_record, write_runs

from awase.records import Metric
from awase.report import Run, load, rows
from awase.report.cautions import cautions
from awase.report.groups import tabulate
from awase.report.lines import build_lines, reference_of
from awase.statistics import compare


def runs(*records: object) -> list[Run]:
    return [Run(record) for record in records]


def with_value(seed: int, fold: int | None, value: float, **changes: object) -> Run:
    metric = Metric(split="test", name="accuracy", value=value, count=10)
    return Run(make_record("joint", seed, fold, metrics=(metric,), **changes))


def test_load_finds_each_run_once(tmp_path: Path):
    write_runs(tmp_path, [make_record("ume", seed) for seed in (0, 1)])
    found = load([tmp_path, tmp_path / "scenes"])
    assert [run.record.seed for run in found] == [0, 1]
    assert all(run.folder is not None and run.test_predictions() is not None for run in found)


def test_load_says_what_is_missing(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load([tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError, match="has a run finished"):
        load([tmp_path])


def test_rows_have_exactly_the_promised_keys():
    keys = ["experiment", "method", "dataset", "split", "metric", "mean", "std", "seeds", "folds", "published"]
    found = rows(runs(*all_records()))
    assert all(list(row) == keys for row in found)
    assert len(found) == len(METHODS) * 2 * 3


def test_folds_are_averaged_within_a_seed_first():
    found = rows([with_value(0, 0, 0.1), with_value(0, 1, 0.3), with_value(1, 0, 0.6)])
    assert len(found) == 1
    assert found[0]["mean"] == pytest.approx((0.2 + 0.6) / 2)
    assert found[0]["std"] == pytest.approx(np.std([0.2, 0.6], ddof=1))
    assert (found[0]["seeds"], found[0]["folds"]) == (2, 2)


def test_one_seed_has_no_deviation():
    (row,) = rows([with_value(3, None, 0.25)])
    assert (row["mean"], row["std"], row["seeds"], row["folds"]) == (0.25, None, 1, 1)


def test_published_stands_beside_its_metric_alone():
    found = rows(runs(make_record("mmlora")))
    published = {(row["split"], row["metric"]): row["published"] for row in found}
    assert published.pop(("test", "accuracy")) == 0.74
    assert set(published.values()) == {None}
    in_percent = rows(runs(make_record("mmlora", published=74.0)))
    assert max(row["published"] or 0 for row in in_percent) == 0.74


def test_different_data_is_never_averaged():
    other = {"fingerprint": "ffff0000ffff"}
    overview = tabulate([with_value(0, None, 0.2), with_value(1, None, 0.8, data=other)])
    assert [table.dataset for table in overview.tables] == [
        "scenes-redundant (data 3fa2c1d0)",
        "scenes-redundant (data ffff0000)",
    ]
    assert "not averaged" in overview.notes[0]
    assert [row["mean"] for row in rows([with_value(0, None, 0.2), with_value(1, None, 0.8, data=other)])] == [0.2, 0.8]


def test_different_protocols_are_kept_apart():
    assert len(tabulate([with_value(0, None, 0.2), with_value(1, 0, 0.8)]).tables) == 2
    assert len(tabulate([with_value(0, 0, 0.2), with_value(0, 1, 0.8)]).tables) == 1
    chosen = with_value(1, None, 0.8, selection_metric="f1_macro")
    tables = tabulate([with_value(0, None, 0.2), chosen]).tables
    assert [t.dataset.removeprefix("scenes-redundant ") for t in tables] == [
        "(chosen by accuracy)",
        "(chosen by f1_macro)",
    ]


def test_different_settings_are_kept_apart():
    longer = with_value(1, None, 0.8, config={"experiment": {"joint": {"epochs": 13}}})
    assert len(tabulate([with_value(0, None, 0.2), longer]).tables) == 2
    rates = with_value(1, None, 0.8, config={"experiment": {"joint": {"epochs": 11}, "missing_rates": [0.1]}})
    assert len(tabulate([with_value(0, None, 0.2), rates]).tables) == 1
    other = with_value(1, None, 0.8, config={"experiment": {"joint": {"epochs": 11}}, "method": {"method": "another"}})
    (table,) = tabulate([with_value(0, None, 0.2), other]).tables
    assert any("different settings of the method" in sentence for sentence in cautions(table))


def test_experiments_and_data_sets_have_tables_of_their_own():
    overview = tabulate(runs(make_record(), make_record(dataset="other"), make_record(experiment="other")))
    assert len(overview.tables) == 3
    assert overview.notes == ()


def test_failed_runs_are_listed_not_averaged():
    overview = tabulate([with_value(0, None, 0.2), with_value(1, None, 0.9, status="failed")])
    assert [run.record.seed for run in overview.failed] == [1]
    assert overview.tables[0].groups[0].seeds == (0,)


def test_of_two_runs_of_a_seed_the_last_to_finish_counts():
    early = with_value(0, None, 0.2, finished="2026-01-01")
    late = with_value(0, None, 0.4, finished="2026-01-02")
    assert rows([late, early])[0]["mean"] == 0.4
    assert "more than once" in tabulate([late, early]).notes[0]


def test_methods_stand_in_the_order_of_the_experiment():
    overview = tabulate(runs(*reversed(all_records()), make_record("another")))
    assert [group.method for group in overview.tables[0].groups] == [*METHODS, "another"]


def test_reference_is_ume_or_the_first():
    assert reference_of(tabulate(runs(*all_records())).tables[0]) == "ume"
    assert reference_of(tabulate(runs(make_record("UME"), make_record("joint"))).tables[0]) == "UME"
    assert reference_of(tabulate(runs(make_record("mmlora"), make_record("joint"))).tables[0]) == "joint"


def test_lines_pair_with_the_reference(tmp_path: Path):
    write_runs(tmp_path, all_records(), num=83)
    table = tabulate(load([tmp_path])).tables[0]
    found = build_lines(table)
    lines = {line.group.method: line for line in found.lines}
    expected, _ = compare(found.predictions["mmlora"], found.predictions["ume"], "accuracy")
    assert lines["mmlora"].difference == expected
    assert lines["ume"].difference is None
    assert lines["mmlora"].interval is not None
    assert lines["mmlora"].seconds == pytest.approx(3 * 8.3)
    assert found.best is lines["mmlora"]


def test_lines_of_folds_put_the_items_side_by_side(tmp_path: Path):
    records = [make_record(method, seed, fold) for method in ("ume", "mmlora") for seed in (0, 1) for fold in (0, 1)]
    write_runs(tmp_path, records, num=41)
    (table,) = tabulate(load([tmp_path])).tables
    difference = build_lines(table).lines[1].difference
    assert difference is not None
    assert (difference.seeds, difference.items) == (2, 82)


def test_lines_without_predictions_say_so():
    found = build_lines(tabulate(runs(*all_records())).tables[0])
    assert all(line.interval is None and line.difference is None for line in found.lines)
    assert "No interval for audio, video" in found.notes[0]


def test_a_metric_that_is_no_sum_has_no_interval(tmp_path: Path):
    write_runs(tmp_path, [make_record(m, selection_metric="f1_macro") for m in ("ume", "mmlora")], num=41)
    found = build_lines(tabulate(load([tmp_path])).tables[0])
    assert found.notes == ("f1_macro is no sum over samples, so it has no bootstrap interval here.",)


def test_best_is_chosen_by_validation_not_test():
    def both(method: str, val: float, test: float, metric: str = "accuracy") -> Run:
        pairs = (("val", val), ("test", test))
        metrics = tuple(Metric(split=split, name=metric, value=value, count=9) for split, value in pairs)
        return Run(make_record(method, metrics=metrics, selection_metric=metric))

    table = tabulate([both("joint", 0.7, 0.5), both("mmlora", 0.6, 0.9)]).tables[0]
    assert build_lines(table).best.group.method == "joint"
    table = tabulate([both("joint", 0.7, 0.5, "loss"), both("mmlora", 0.6, 0.9, "loss")]).tables[0]
    assert build_lines(table).best.group.method == "mmlora"


def test_cautions_name_what_a_reader_must_know():
    records = [
        make_record("mmlora", 0, dirty=True),
        make_record("mmlora", 1, commit="other", test_looks=({"by": "evaluate"},)),
        make_record("joint", 0, settings_tried=1, hardware={"processor": "another"}, notes=("NaN was seen",)),
    ]
    assert "without video" not in (text := "\n".join(cautions(tabulate(runs(*records)).tables[0])))
    for words in (
        "did not try equally many settings (1 to 3)",
        "joint lacks 1 of 2 combinations",
        "Stage adapters was still improving on validation at its last epoch in 2 runs (mmlora)",
        "carved out of train (fraction 0.125, by group, seed 0)",
        "1 row excluded: truncated file (1).",
        "2 rows without audio: no audio track (2).",
        "A leak is possible: 3 groups occur in more than one split.",
        "looked at 1 more time after",
        "joint: NaN was seen",
        "uncommitted changes",
        "different commits",
        "different hardware",
    ):
        assert words in text, words


def test_a_stage_that_was_still_improving_is_said_once():
    note = "Stage 'adapters' was still improving on validation at the end of its 11 epochs."
    records = [make_record("mmlora", seed, notes=(note,)) for seed in (0, 1)]
    found = cautions(tabulate(runs(*records)).tables[0])
    assert sum("still improving" in sentence for sentence in found) == 1


def test_no_cautions_without_a_cause():
    records = [
        make_record("ume", seed, notes=(), data={"fingerprint": "a", "validation": {"made": "given"}})
        for seed in (0, 1)
    ]
    assert cautions(tabulate(runs(*records)).tables[0]) == []
    assert "one seed" in cautions(tabulate(runs(records[0])).tables[0])[0]
