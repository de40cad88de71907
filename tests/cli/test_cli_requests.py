"""Requests that cannot be carried out: one sentence, exit code 2, nothing written."""

import json

import pytest
from calls import INPUTS, assert_refused, call, files, run_arguments

from awase.experiments import EXPERIMENTS


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["frobnicate"],
            [
                "frobnicate",
                "run, report, evaluate, predict, embed, search, compare, diagnose, headroom, extract, export, merge",
            ],
        ),
        (["data", "frobnicate"], ["frobnicate", "check"]),
        (["data"], ["awase data --help"]),
        (["run"], ["name", "awase run --help"]),
        (["run", "demo", "--frobnicate", "3"], ["--frobnicate", "awase run --help"]),
        (["run", "demo", "--seed", "many"], ["--seed", "integer"]),
        (["run", "nosuch"], ["nosuch", *EXPERIMENTS, "FILE.py::FUNCTION"]),
        (["run", "nosuch.csv"], ["nosuch.csv", "JSON-lines"]),
        (["run", "nosuch.py::experiment"], ["nosuch.py"]),
        (["run", "demo", "--method", "nosuch"], ["nosuch", "joint", "mmlora"]),
        (["run", "demo", "--set", "joint.epoch=3"], ["epoch", "learning_rate"]),
        (["run", "demo", "--set", "joint.epochs"], ["joint.epochs", "path.to.field=value"]),
        (["run", "demo", "--set", "joint.epochs=many"], ["many", "integer"]),
        (["run", "demo", "--set", "encoders.smell.name=mlp"], ["smell", "video, audio"]),
        (["run", "demo", "--dtype", "float16"], ["float16", "bfloat16"]),
        (["run", "demo", "--threads", "0"], ["threads", "1"]),
        (["run", "demo", "--device", "abacus"], ["abacus", "cpu", "cuda"]),
        (["list", "nosuch"], ["nosuch", "experiments", "encoders"]),
        (["report", "nosuch"], ["nosuch"]),
        (["evaluate", "nosuch"], ["nosuch", "record.json"]),
        (["predict", "nosuch", "table.csv", "--out", "x.parquet"], ["nosuch"]),
        (["compare", "nosuch", "nosuch"], ["nosuch"]),
        (["data", "check", "nosuch.csv"], ["nosuch.csv"]),
        (["data", "check", "nosuch"], ["nosuch", "demo"]),
        (["cache", "prune"], ["--keep"]),
        (["cache", "prune", "--keep", "."], ["--keep", "no run was found"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and len(value) < 6 else "",
)
def test_wrong_requests_name_what_would_work(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(call(*arguments), *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("encoders.reading.name=nosuch", ["nosuch", "mlp", "small_transformer"]),
        ("encoders.reading.options.nosuch=3", ["nosuch", "mlp", "width"]),
        ("encoders.text.name=mlp", ["mlp", "text"]),
        ("methods.2.settings.fusion=nosuch", ["nosuch", "concat"]),
        ("methods.2.settings.nosuch=3", ["joint", "nosuch", "fusion"]),
        ("methods.2.settings.training.epoch=3", ["epoch", "epochs"]),
        ("methods.2.method=nosuch", ["nosuch", "mmlora"]),
        ('unimodal_overrides={"smell": {"epochs": 3}}', ["smell", "reading, text"]),
        ("unimodal_overrides.text.epoch=3", ["epoch", "epochs"]),
        ("selection.metric=beauty", ["beauty", "accuracy", "f1_macro"]),
        ("selection.metric=loss", ["loss", "selection.direction=min"]),
        ("selection.direction=min", ["accuracy", "selection.direction=max"]),
        ("data.label=mood", ["mood", "'id', 'reading', 'text', 'label', 'split'"]),
        ("data.split_column=part", ["part", "split"]),
        ("data.group_column=speaker", ["speaker"]),
        ("data.inputs.text.column=words", ["words", "'text'"]),
        ("data.inputs.smell.column=text", ["smell", "reading, text"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_settings_are_found_before_anything_is_trained(assignment, words, readings, tmp_path):
    assert_refused(call(*run_arguments(readings, tmp_path, "--set", assignment)), *words)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.glob("cache/stages/*"))


def test_a_method_that_cannot_be_adapted_is_refused_before_the_others_train(readings, tmp_path):
    mmlora = ["--set", "methods.7.settings.targets=nosuch"]
    result = call(*run_arguments(readings, tmp_path, *mmlora, method=None))
    assert_refused(result, "nosuch")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "name", "words"),
    [
        ("def other():\n    return 3\n", "mine", ["'mine'", "other"]),
        ("from pathlib import Path\nmine = 3\n", "mine", ["'mine'", "none"]),
        ("def mine():\n    return 3\n", "mine", ["int", "Experiment"]),
        ("def mine(size):\n    return 3\n", "mine", ["size", "defaults"]),
        ("def mine(:\n", "mine", ["cannot be loaded", "mine.py"]),
        ("import nosuch_module\n", "mine", ["cannot be loaded", "nosuch_module"]),
    ],
)
def test_files_of_the_users_own_that_cannot_be_used(source, name, words, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(source, encoding="utf-8")
    assert_refused(call("run", f"{file}::{name}", "--out", tmp_path / "out"), *words)
    assert files(tmp_path) == ["mine.py"] or files(tmp_path)[0].startswith("__pycache__")
    assert_refused(call("run", f"{file}::{name}", "--out", tmp_path / "out"), *words)


def test_only_python_files_have_functions(readings):
    assert_refused(call("run", f"{readings}::mine"), "readings.jsonl", ".py")


def test_another_configuration_in_the_same_folder_is_refused_naming_the_fields(readings, tmp_path):
    assert call(*run_arguments(readings, tmp_path)).code == 0
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    again = call(*run_arguments(readings, tmp_path, "--set", "joint.epochs=2", "--set", "joint.batch_size=7"))
    assert_refused(again, "experiment.joint.batch_size", "experiment.joint.epochs", "--out")
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_a_table_is_read_with_its_own_columns_from_the_beginning(readings, tmp_path):
    rows = [json.loads(line) for line in readings.read_text().splitlines()]
    for row in rows:
        row["mood"], row["part"] = row.pop("label"), row.pop("split")
    table = tmp_path / "moods.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    plain = ["run", table, "--dry-run", "--cache", tmp_path / "cache"]
    columns = ["--set", "data.label=mood", "--set", "data.split_column=part"]
    assert_refused(call(*plain), "'label'")
    inferred = call(*plain, *columns, "--set", "data.inputs.text.max_tokens=4")
    assert inferred.code == 0, inferred.err
    assert "2 classes, 13 train, 5 val, 7 test" in inferred.out
    assert call(*plain, *columns, "--set", f"data.inputs={json.dumps(INPUTS)}").code == 0


def test_encoders_of_a_table_can_be_named(readings, tmp_path):
    wide = call(*run_arguments(readings, tmp_path, "--dry-run", "--set", "encoders.reading.options.width=7"))
    narrow = call(*run_arguments(readings, tmp_path, "--dry-run"))
    assert wide.code == narrow.code == 0, wide.err
    assert wide.out != narrow.out
    assert not (tmp_path / "out").exists()
