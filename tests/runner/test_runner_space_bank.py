"""The inductive numbers that a run has beside its raw ones, against the formula and against `awase evaluate`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_spaces import mcn_of, reading_rows, readings_data, small_encoders, space_experiment, train, write_rows

from awase.evaluation import ranks_from_scores
from awase.records import RECORD_NAME, Record, read_record
from awase.runner.space_again import Request, rescore
from awase.runner.space_files import read_embeddings

GAPS = {"a": 5, "text": 7}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A staged run on rows of which some lack a modality."""
    place = tmp_path_factory.mktemp("bank")
    table = write_rows(place / "table.jsonl", reading_rows(GAPS))
    method = mcn_of(label="staged", staged={"first": ["a", "b"]})
    train(space_experiment(readings_data(table), method, encoders=small_encoders()), place / "out", place / "cache")
    return place / "out" / "staged" / "seed-0"


@pytest.fixture(scope="module")
def record(run: Path) -> Record:
    return read_record(run)


def side_of(run: Path, split: str, names: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """The summed embeddings of the last stage, and which rows have all of them."""
    embedded = read_embeddings(run, "joint", split)
    values = torch.stack([embedded.embeddings[name].double() for name in names]).sum(0)
    return values, torch.stack([embedded.present[name] for name in names]).all(0)


def test_every_raw_number_of_the_last_stage_on_test_has_one(record: Record):
    raw = [n for n in record.retrieval.numbers if (n.stage, n.split) == ("joint", "test")]
    banked = record.retrieval.query_bank
    assert [(n.stage, n.split, n.direction) for n in banked] == [(n.stage, n.split, n.direction) for n in raw]
    assert len(banked) == 9
    for one, plain in zip(banked, raw, strict=True):
        assert one.protocol == {**plain.protocol, "post_processing": "querybank"}
        assert one.metrics.keys() == plain.metrics.keys()
        assert one.bank == "val"
    assert any(one.metrics != plain.metrics for one, plain in zip(banked, raw, strict=True))


def test_against_the_formula(run: Path, record: Record):
    """s - 1/beta log sum over the bank exp(beta s), ranked by a plain count; the rows that are not there fail."""
    for one in record.retrieval.query_bank:
        query, _, gallery = one.direction.partition("->")
        queries, asked = side_of(run, "test", [query])
        items, there = side_of(run, "test", gallery.split("+"))
        bank, banked = side_of(run, "val", [query])
        back = (one.beta * (bank[banked] @ items.T)).logsumexp(0) / one.beta
        ranks = ranks_from_scores(
            queries @ items.T - back, torch.arange(len(items)), query_present=asked, gallery_present=there
        ).numpy()
        assert one.bank_queries == int(banked.sum()) < len(banked) + (query == "b")
        for k in (1, 5, 10):
            assert one.metrics[f"R@{k}"] == pytest.approx(np.mean((ranks >= 0) & (ranks < k)))
        assert one.metrics["MedR"] == pytest.approx(np.median(ranks[ranks >= 0]) + 1)


def test_it_is_what_evaluate_gives(run: Path, record: Record):
    found = {one.direction: one for one in rescore(run, Request(post="query_bank"))}
    for one in record.retrieval.query_bank:
        again = found[one.direction]
        assert (again.metrics, again.protocol.to_dict(), again.beta) == (one.metrics, one.protocol, one.beta)
        assert again.bank == one.bank


def test_no_metric_of_the_run_comes_from_it(record: Record):
    """What is chosen by, and what stands as the run's result, is raw."""
    raw = {(n.split, n.direction): n.metrics for n in record.retrieval.numbers if n.stage == "joint"}
    named = [metric for metric in record.metrics if metric.condition != "full"]
    assert named
    assert all(raw[metric.split, metric.condition][metric.name] == metric.value for metric in named)
    assert all(n.protocol["post_processing"] == "none" for n in record.retrieval.numbers)


def test_a_record_without_the_field_is_read(run: Path, tmp_path: Path):
    values = json.loads((run / RECORD_NAME).read_text(encoding="utf-8"))
    del values["retrieval"]["query_bank"]
    (tmp_path / RECORD_NAME).write_text(json.dumps(values), encoding="utf-8")
    assert read_record(tmp_path).retrieval.query_bank == ()


def test_without_enough_validation_queries_there_is_none(tmp_path: Path):
    """Of eleven validation rows three have a text, so nothing is asked by text; the rest is there."""
    rows = reading_rows(sizes={"train": 41, "val": 11, "test": 23})
    for number, row in enumerate(row for row in rows if row["split"] == "val"):
        row["text"] = row["text"] if number < 3 else None
    table = write_rows(tmp_path / "table.jsonl", rows)
    made = space_experiment(readings_data(table), mcn_of(), encoders=small_encoders())
    (record,) = train(made, tmp_path / "out", tmp_path / "cache")
    assert record.retrieval is not None
    asking = [one.direction.partition("->")[0] for one in record.retrieval.query_bank]
    assert sorted(set(asking)) == ["a", "b"]
    assert len([n for n in record.retrieval.numbers if n.split == "test"]) == 9
