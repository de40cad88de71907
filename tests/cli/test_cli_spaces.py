"""Retrieval runs as the command line scores, compares and refuses them: a tiny run of readings and words."""

import json
import re
from pathlib import Path

import pytest
from calls import assert_refused, call
from tiny_spaces import mcn_of, reading_rows, readings_data, small_encoders, space_experiment, train, write_rows

from awase.records import read_record
from awase.statistics import read_ranks, read_worst


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Joint and staged runs of two seeds; every seventh row lacks `a`, and some texts come twice."""
    folder = tmp_path_factory.mktemp("spaces")
    rows = reading_rows({"a": 7})
    for number, row in enumerate(rows):
        row["text"] = rows[number - number % 3]["text"]
    data = readings_data(write_rows(folder / "rows.jsonl", rows))
    methods = (mcn_of(label="joint"), mcn_of(label="staged", staged={"first": ["a", "b"]}))
    train(space_experiment(data, *methods, encoders=small_encoders(), seeds=(0, 1)), folder / "out", folder / "cache")
    return folder / "out"


def numbers(runs: Path, *arguments: object) -> dict[str, dict]:
    result = call("evaluate", runs / "joint" / "seed-0", "--json", "--device", "cpu", *arguments)
    assert (result.code, result.err) == (0, "")
    return {one["direction"]: one for one in json.loads(result.out)["directions"]}


def test_saved_embeddings_give_the_numbers_of_the_record(runs: Path):
    record = read_record(runs / "joint" / "seed-0")
    assert record.retrieval is not None
    for split in ("val", "test"):
        found = numbers(runs, "--split", split)
        same = numbers(runs, "--split", split, "--same-caption")
        known = [one for one in record.retrieval.numbers if one.split == split]
        assert {one.direction for one in known} == set(found)
        for one in known:
            assert found[one.direction]["metrics"] == one.metrics
            assert found[one.direction]["protocol"] == one.protocol
            assert same[one.direction]["metrics"] == (one.metrics_same or one.metrics)
    assert any(one.metrics_same for one in record.retrieval.numbers)


def test_an_earlier_stage(runs: Path):
    record = read_record(runs / "staged" / "seed-0")
    assert record.retrieval is not None
    stage = next(iter(record.retrieval.pairs))
    result = call("evaluate", runs / "staged" / "seed-0", "--stage", stage, "--split", "val", "--json")
    found = {one["direction"]: one["metrics"] for one in json.loads(result.out)["directions"]}
    assert found == {n.direction: n.metrics for n in record.retrieval.numbers if (n.stage, n.split) == (stage, "val")}
    assert set(found) == {"a->b", "b->a"}


def test_looks_at_test_are_noted_and_those_at_validation_are_not(runs: Path):
    folder = runs / "joint" / "seed-1"
    before = len(read_record(folder).test_looks)
    assert call("evaluate", folder, "--split", "val").code == 0
    assert len(read_record(folder).test_looks) == before
    assert call("evaluate", folder, "--score", "cosine", "--direction", "text->b").code == 0
    looks = read_record(folder).test_looks
    assert len(looks) == before + 1
    assert (looks[-1]["by"], looks[-1]["split"], looks[-1]["score"]) == ("evaluate", "test", "cosine")


def test_missing_items_are_failures_or_left_out(runs: Path):
    name = "text->a"
    whole = numbers(runs, "--direction", name)[name]
    part = numbers(runs, "--direction", name, "--gallery-without-missing")[name]
    missing = whole["protocol"]["missing_items"]
    assert missing == 3  # rows 63, 70 and 77 of 60 to 82
    assert part["protocol"]["gallery_size"] == part["protocol"]["num_queries"] == 23 - missing
    assert (part["protocol"]["missing"], whole["protocol"]["missing"]) == ("left out", "failure")
    for metric in ("R@1", "R@5", "R@10"):
        assert part["metrics"][metric] == pytest.approx(whole["metrics"][metric] * 23 / (23 - missing))
    assert part["metrics"]["MedR"] == whole["metrics"]["MedR"]


def test_post_processing_stands_under_its_name(runs: Path):
    found = numbers(runs, "--direction", "b->text", "--post", "dynamic_query_bank")["b->text"]
    assert found["protocol"]["post_processing"] == "querybank_dynamic"
    assert found["bank"] == "val"
    assert found["beta"] > 0
    given = numbers(runs, "--direction", "text->b+a", "--post", "transductive_sinkhorn", "--beta", "2")["text->a+b"]
    assert (given["beta"], given["bank"]) == (2, None)
    run = runs / "joint" / "seed-0"
    heading = "Transductive: the score of a query depends on the other queries."
    for name in ("transductive_dual_softmax", "transductive_sinkhorn"):
        text = call("evaluate", run, "--post", name, "--direction", "b->text").out
        assert text.startswith(heading)
        assert f"post-processing {name}" in text
    assert heading not in call("evaluate", run, "--post", "query_bank", "--direction", "b->text").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "train"], ["'train'", "test.safetensors"]),
        (["--post", "magic"], ["'magic'", "query_bank"]),
        (["--score", "manhattan"], ["'manhattan'"]),
        (["--stage", "third"], ["'third'", "joint"]),
        (["--direction", "text->smell"], ["'text->smell'", "text->a+b"]),
        (["--split", "val", "--post", "query_bank"], ["normalise itself"]),
        (["--beta", "2"], ["post-processing", "2.0 for none"]),
        (["--without", "a"], ["--direction"]),
    ],
)
def test_wrong_requests(runs: Path, arguments: list[str], words: list[str]):
    assert_refused(call("evaluate", runs / "joint" / "seed-0", *arguments), *words)


def test_compare(runs: Path):
    result = call("compare", runs / "staged", runs / "joint", "--direction", "text->b", "--json")
    (one,) = json.loads(result.out)["directions"]
    assert set(one["differences"]) == {"1", "5", "10"}
    tables = [
        {s: read_ranks(runs / m / f"seed-{s}").select(stage="joint", split="test", direction="text->b") for s in (0, 1)}
        for m in ("staged", "joint")
    ]
    shares = [[(table.rank < 5).mean() for table in found.values()] for found in tables]
    assert one["differences"]["5"]["difference"] == pytest.approx(sum(shares[0]) / 2 - sum(shares[1]) / 2)
    text = call("compare", runs / "staged", runs / "joint", "--direction", "text->b", "--metric", "R@5").out
    assert "text->b, R@5: " in text
    assert "cannot be seen" in text
    assert re.search(r"text->b: 23 queries of \w+ test \[[0-9a-f]{12}\] \(", text)
    assert_refused(call("compare", runs / "staged", runs / "joint", "--metric", "accuracy"), "R@1")


def test_what_decides_nothing_is_neither_diagnosed_nor_predicted_with(runs: Path, tmp_path: Path):
    run = runs / "joint" / "seed-0"
    cache = ["--cache", runs.parent / "cache"]
    assert_refused(call("diagnose", run, *cache), "retrieves", "awase report")
    out = ["--out", tmp_path / "x.parquet"]
    assert_refused(call("predict", run, runs.parent / "rows.jsonl", *out, *cache), "joint space", "awase.Space")


def test_worst_queries_lie_beside_the_record(runs: Path):
    folder = runs / "joint" / "seed-0"
    found = read_worst(folder)
    assert {(part.split, part.direction) for part in found} == {
        (split, name) for split in ("val", "test") for name in ("text->a", "text->b", "text->a+b")
    }
    part = next(part for part in found if (part.split, part.direction) == ("test", "text->a"))
    ranks = read_ranks(folder).select(stage="joint", split="test", direction="text->a")
    by_id = dict(zip(ranks.query_id, ranks.rank.tolist(), strict=True))
    assert [one.rank for one in part.queries] == sorted((r for r in by_id.values() if r >= 0), reverse=True)[:20]
    assert all(by_id[one.id] == one.rank for one in part.queries)
    assert part.lost == sum(rank < 0 for rank in by_id.values()) == 3


def test_export_writes_a_folder_and_refuses_one_that_is_there(runs: Path, tmp_path: Path):
    arguments = ("export", runs / "joint" / "seed-0", "--cache", runs.parent / "cache", "--format", "torch")
    result = call(*arguments, "--modality", "b", "--out", tmp_path / "out")
    assert (result.code, result.err) == (0, "")
    assert result.out == f"{tmp_path / 'out'}: b.pt2, b.json\n"
    assert json.loads((tmp_path / "out" / "b.json").read_text())["key"] == "shared"
    assert_refused(call(*arguments, "--out", tmp_path / "out"), "There is already a")
    assert_refused(call(*arguments, "--under", "a+b", "--out", tmp_path / "more"), "'a+b'", "shared")
