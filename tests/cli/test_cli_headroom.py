"""`awase headroom` from a table to the answer, and what it refuses."""

import json
from pathlib import Path

import pytest
from calls import assert_refused, call
from tiny_spaces import INPUTS, reading_rows, write_rows

from awase.records import read_record

SMALL = {
    "methods.0.settings.retrieval.space.dim": 7,
    "methods.0.settings.retrieval.space.reconstruction": 5,
    "joint.epochs": 2,
    "data.task": "retrieval",
    "encoders.a": {"name": "mlp", "options": {"width": 11, "depth": 1}},
    "encoders.b": {"name": "mlp", "options": {"width": 12, "depth": 1}},
    "encoders.text": {
        "name": "small_transformer",
        "options": {"dim": 8, "depth": 1, "num_heads": 2, "vocabulary_size": 32},
    },
}


def arguments(folder: Path, *more: object, modalities: tuple[str, ...] = ("a", "b", "text")) -> list[object]:
    """The command on a table of readings, of which every seventh lacks `a`; results and cache in `folder`."""
    table = write_rows(folder / "rows.jsonl", reading_rows({"a": 7}))
    absent = {f"encoders.{name}" for name in INPUTS if name not in modalities}
    inputs = {"data.inputs": {name: INPUTS[name].model_dump(mode="json") for name in modalities}}
    settings = {name: value for name, value in {**inputs, **SMALL}.items() if name not in absent}
    given = [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    runtime = ["--device", "cpu", "--threads", 1, "--quiet", "--out", folder / "out", "--cache", folder / "cache"]
    return ["headroom", table, *runtime, *given, *more]


def test_from_a_table_to_the_answer(tmp_path: Path):
    """The first call trains, the second reads the same runs; the joint space is trained once for all."""
    seeds = ["--seed", 0, "--seed", 1]
    first = call(*arguments(tmp_path, *seeds))
    assert first.code == 0, first.err
    second = call(*arguments(tmp_path, *seeds, "--json"))
    assert second.code == 0, second.err
    found = json.loads(second.out)
    assert (found["experiment"], found["metric"], found["split"]) == ("rows-headroom", "R@1", "test")
    assert [one["pair"] for one in found["pairs"]] == ["a+b", "a+text", "b+text"]
    for pair in found["pairs"]:
        assert f"## {pair['pair']}" in first.out
        assert pair["verdict"]["sentence"][1:] in first.out
        for asked in pair["asked"]:
            assert set(asked["task_agnostic"]) == {"joint", "joint-wide", "joint-longer"}
            assert set(asked["task_aware"]) == {"alone", "heads", "pair_adapters"}
            gain = asked["differences"]["alone - joint"]
            assert gain["difference"] == pytest.approx(asked["task_aware"]["alone"] - asked["task_agnostic"]["joint"])
            assert gain["seeds"] == 2
    assert first.out.startswith(found["sentence"])
    stored = {name: cost["stored"] for name, cost in found["costs"].items()}
    assert stored["joint-wide"] == stored["alone"] == stored["heads"] == stored["pair_adapters"] == 2 * stored["joint"]
    joint, adapters = (read_record(tmp_path / "out" / name / "seed-1") for name in ("joint", "pair_adapters"))
    assert [stage.reused for stage in adapters.stages] == [True, False]
    assert adapters.stages[0].hash == joint.stages[0].hash
    heads = read_record(tmp_path / "out" / "heads-a+text" / "seed-1")
    assert heads.stages[0].hash == joint.stages[0].hash
    assert heads.stages[1].trained_parts == ("a.head", "text.head")
    assert (tmp_path / "out" / "report.html").is_file()


def test_without_doing_it(tmp_path: Path):
    result = call(*arguments(tmp_path, "--dry-run"))
    assert (result.code, result.err) == (0, "")
    assert "rows-headroom: 10 methods" in result.out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("modalities", [("text",), ("a", "text")])
def test_one_pair_or_none_has_no_headroom(tmp_path: Path, modalities: tuple[str, ...]):
    assert_refused(call(*arguments(tmp_path, modalities=modalities)), ", ".join(modalities), "three or more")
    assert not (tmp_path / "out").exists()


def test_requests_that_cannot_work(tmp_path: Path):
    assert_refused(call(*arguments(tmp_path, "--split", "train")), "'train'", "val, test")
    assert_refused(call("headroom", "demo"), "single_label", "data.task=retrieval")
    assert_refused(call("headroom", "mcn.joint"), "--root")
    assert not (tmp_path / "out").exists()
