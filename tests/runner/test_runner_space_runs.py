"""Whole runs in joint spaces: stages, resuming, what is looked at, the numbers, missing modalities, and errors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_spaces import (
    clips,
    mcn_of,
    reading_rows,
    readings_data,
    small_encoders,
    space_experiment,
    train,
    write_rows,
)
from watched_runs import stopped_and_repeated

from awase import Model, Space
from awase.config import EncoderConfig, MethodConfig, SelectionConfig
from awase.data import Dataset
from awase.records import Record, read_record
from awase.runner.known import EVALUATION_BATCH
from awase.runner.nodes import NodeRunner
from awase.runner.space_files import read_embeddings, read_samples
from awase.runner.space_state import SpaceState
from awase.statistics import read_ranks
from awase.training.store import StageStore

STAGED = {"first": ["a", "b"]}
METHODS = (
    mcn_of(label="strict", staged=STAGED),
    mcn_of(label="relaxed", staged={**STAGED, "second": "relaxed"}),
    mcn_of(label="frozen", staged={**STAGED, "freeze": True}),
)
GAPS = {"a": 5, "text": 7}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("spaces")


@pytest.fixture(scope="module")
def table(place) -> Path:
    return write_rows(place / "table.jsonl", reading_rows(GAPS))


@pytest.fixture(scope="module")
def looks() -> list[str]:
    """Which splits were read, in order, and `trained` where the last stage of a method was done."""
    return []


@pytest.fixture(scope="module")
def records(place, table, looks) -> dict[str, Record]:
    loader, run = Dataset.loader, NodeRunner.run

    def watched(self, split, **options):
        looks.append(split)
        return loader(self, split, **options)

    def noted(self, nodes):
        looks.append("begun")
        result = run(self, nodes)
        looks.append("trained")
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "loader", watched)
        patch.setattr(NodeRunner, "run", noted)
        made = space_experiment(readings_data(table), *METHODS, encoders=small_encoders())
        found = train(made, place / "out", place / "cache")
    return {record.method: record for record in found}


def stored(record: Record, stage: int, cache: Path) -> dict[str, torch.Tensor]:
    found = StageStore(cache).find(record.stages[stage].hash)
    assert found is not None
    return found.tensors


def test_the_test_split_is_not_read_before_the_last_stage_is_done(records, looks):
    assert looks.count("trained") == len(METHODS)
    for part in " ".join(looks).split("begun ")[1:]:
        before, after = part.split("trained")
        assert "val" in before.split()
        assert "test" not in before.split()
        assert "test" in after.split()


def test_the_first_stage_is_trained_once_for_all_that_begin_with_it(records):
    stages = {name: record.stages for name, record in records.items()}
    assert len({found[0].hash for found in stages.values()}) == 1
    assert len({found[1].hash for found in stages.values()}) == 3
    assert [found[0].reused for found in stages.values()] == [False, True, True]
    assert [found[0].name for found in stages.values()] == ["a+b"] * 3


def test_frozen_towers_stay_and_the_others_move(records, place):
    first = stored(records["frozen"], 0, place / "cache")
    assert {name.split(".")[1] for name in first if not name.startswith("objective")} == {"a", "b"}
    frozen, strict = (stored(records[name], 1, place / "cache") for name in ("frozen", "strict"))
    assert {name.split(".")[1] for name in frozen if not name.startswith("objective")} == {"text"}
    assert any(not torch.equal(first[name], strict[name]) for name in first if name.startswith("encoders."))
    run = place / "out" / "frozen" / "seed-0"
    one, two = (read_embeddings(run, stage, "test") for stage in ("a+b", "joint"))
    rows = [two.index.tolist().index(row) for row in one.index.tolist()]
    for name in ("a", "b"):
        there = one.present[name]
        torch.testing.assert_close(two.embeddings[name][rows][there], one.embeddings[name][there])
    guard = records["frozen"].stages[1].guards["a+b"]
    assert guard["before"] == guard["after"]


def test_every_number_is_that_of_the_saved_embeddings(records, place):
    """Ranks by a plain sort, of untied scores; an item that is not there is a failure."""
    for label, record in records.items():
        run = place / "out" / label / "seed-0"
        assert record.retrieval is not None
        assert record.retrieval.score == "dot"
        assert len(record.retrieval.numbers) == 2 * (2 + 9)
        for number in record.retrieval.numbers:
            embedded = read_embeddings(run, number.stage, number.split)
            query, _, gallery = number.direction.partition("->")
            names = gallery.split("+")
            present = {name: value.numpy() for name, value in embedded.present.items()}
            vectors = {name: value.double().numpy() for name, value in embedded.embeddings.items()}
            there = np.logical_and.reduce([present[name] for name in names])
            scores = vectors[query] @ sum(vectors[name] for name in names).T
            ranks = []
            for row in range(len(embedded)):
                if not present[query][row]:
                    ranks.append(-1)
                    continue
                order = [item for item in np.argsort(-scores[row], kind="stable") if there[item]]
                assert len(np.unique(scores[row][there])) == there.sum(), "a tie"
                ranks.append(order.index(row) if there[row] else -1)
            found = np.array(ranks)
            assert number.protocol["num_queries"] == len(found)
            assert number.protocol["missing_queries"] == int((~present[query]).sum())
            assert number.protocol["gallery_size"] == len(embedded)
            assert number.protocol["missing_items"] == int((~there).sum())
            hit = found[found >= 0]
            for k in (1, 5, 10):
                assert number.metrics[f"R@{k}"] == pytest.approx(((found >= 0) & (found < k)).mean())
            assert number.metrics["MedR"] == pytest.approx(np.median(hit) + 1)
            assert number.metrics["MeanR"] == pytest.approx(np.mean(hit) + 1)
            everyone = np.where(found < 0, np.inf, found + 1)
            assert number.metrics["MedR_all"] == np.median(everyone)
            assert number.metrics["MedR_all"] >= number.metrics["MedR"]
        assert {number.direction for number in record.retrieval.numbers if not number.trained} == (
            {"a->text", "text->a", "b->text", "text->b", "a->b", "b->a"} & set()
        )


def test_missing_modalities_are_failures_and_are_counted(records, place):
    numbers = {n.direction: n for n in records["strict"].retrieval.numbers if (n.stage, n.split) == ("joint", "test")}
    rows = range(60, 83)
    lacking = {name: sum(row % every == 0 for row in rows) for name, every in GAPS.items()}
    assert min(lacking.values()) >= 3
    assert numbers["b->a"].protocol["missing_items"] == lacking["a"]
    assert numbers["b->a"].protocol["num_queries"] == 23
    assert numbers["a->b"].protocol["num_queries"] == 23
    assert numbers["a->b"].protocol["missing_queries"] == lacking["a"]
    assert numbers["a->b"].metrics["R@10"] <= 1 - lacking["a"] / 23
    assert numbers["b->text"].protocol["missing_items"] == lacking["text"]
    either = sum(row % 5 == 0 or row % 7 == 0 for row in rows)
    assert numbers["b->a+text"].protocol["missing_items"] == either
    assert numbers["b->a"].metrics["R@10"] <= 1 - lacking["a"] / 23
    table = read_ranks(place / "out" / "strict" / "seed-0" / "ranks.parquet")
    chosen = [
        rank
        for stage, split, direction, rank in zip(table.stage, table.split, table.direction, table.rank, strict=True)
        if (stage, split, direction) == ("joint", "test", "b->a")
    ]
    assert sum(rank < 0 for rank in chosen) == lacking["a"]


def test_rows_that_a_first_stage_does_not_know_are_failures_after_it(tmp_path):
    """Every seventh row has a text alone, and the first stage has none: the gallery is the same after both stages."""
    table = write_rows(tmp_path / "table.jsonl", reading_rows({"a": 7, "b": 7}))
    made = space_experiment(readings_data(table), mcn_of(staged=STAGED), encoders=small_encoders())
    (record,) = train(made, tmp_path / "out", tmp_path / "cache")
    assert record.retrieval is not None
    found = [n for n in record.retrieval.numbers if (n.split, n.direction) == ("test", "a->b")]
    assert [n.protocol["gallery_size"] for n in found] == [23, 23]
    assert all(n.protocol["missing_queries"] == n.protocol["missing_items"] >= 3 for n in found)


def test_a_median_over_all_at_infinity_is_recorded_and_the_model_can_be_saved(tmp_path):
    """Two of three rows have no text, so that half of what is asked for is missing."""
    rows = reading_rows()
    for number, row in enumerate(rows):
        row["text"] = row["text"] if number % 3 == 0 else None
    made = space_experiment(
        readings_data(write_rows(tmp_path / "table.jsonl", rows)), mcn_of(), encoders=small_encoders()
    )
    (record,) = train(made, tmp_path / "out", tmp_path / "cache")
    run = tmp_path / "out" / "mcn" / "seed-0"
    (number,) = [n for n in read_record(run).retrieval.numbers if (n.split, n.direction) == ("test", "a->text")]
    assert number.metrics["MedR_all"] == np.inf
    assert np.isfinite(number.metrics["MedR"])
    assert not any("MedR_all" in epoch.metrics for stage in record.stages for epoch in stage.curve)
    Space.from_pretrained(run, device="cpu", cache=tmp_path / "cache").save_pretrained(tmp_path / "saved")
    assert "MedR_all" not in (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")


def test_equal_texts_of_other_batches_are_equal_to_the_last_bit(tmp_path):
    """The last batch of test has one sample, whose products are summed in another order; its text is that of the first.

    From the video, the text of another clip that is the same is a tie, and a tie is not decided by rounding.
    """
    rows = reading_rows(sizes={"train": 41, "val": 19, "test": EVALUATION_BATCH + 1})
    rows[-1]["text"] = rows[60]["text"]
    data = readings_data(write_rows(tmp_path / "table.jsonl", rows))
    made = space_experiment(data, mcn_of(space={"dim": 512}), encoders=small_encoders())
    train(made, tmp_path / "out", tmp_path / "cache")
    run = tmp_path / "out" / "mcn" / "seed-0"
    embedded = read_embeddings(run, "joint", "test")
    first, last = (embedded.ids.index(rows[row]["id"]) for row in (60, -1))
    assert last == EVALUATION_BATCH
    assert torch.equal(embedded.embeddings["text"][first], embedded.embeddings["text"][last])
    assert not torch.equal(embedded.embeddings["a"][first], embedded.embeddings["a"][last])
    ranks = read_ranks(run).select(stage="joint", split="test", direction="a->text")
    assert min(ranks.rank[first], ranks.rank[last]) >= 1, "each has the other's equal text before it"


def test_a_loaded_space_gives_the_embeddings_that_the_run_saved(records, place, table):
    run = place / "out" / "relaxed" / "seed-0"
    space = Space.from_pretrained(run, device="cpu", cache=place / "cache")
    assert (space.modalities, space.cosine) == (("a", "b", "text"), False)
    saved, again = read_embeddings(run, "joint", "test"), space.embed(table)
    rows = [again.ids.index(name) for name in saved.ids]
    for name in space.modalities:
        there = saved.present[name]
        assert torch.equal(again.present[name][rows], there)
        torch.testing.assert_close(again.embeddings[name][rows][there], saved.embeddings[name][there])
    assert set(read_samples(run)) == {"id", "split", "text|text"}
    with pytest.raises(ValueError, match=r"joint space.*awase\.Space"):
        Model.from_pretrained(run, device="cpu", cache=place / "cache")
    with pytest.raises(FileNotFoundError, match=r"joint/test\.safetensors"):
        read_embeddings(run, "joint", "nosuch")


# ---- resuming ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"begin": ["queue"]},
        {"begin": ["centroids", "temperature", "batch_statistics"], "schedule": "continue"},
    ],
    ids=["queue", "rest"],
)
def test_what_was_interrupted_ends_with_the_same_bits(changes, table, tmp_path, monkeypatch):
    learned = {"loss": "info_nce", "learn_temperature": True}
    clustering = {"num_clusters": 3, "queue_rows": 19, "refit_every": 2, "reset_each_epoch": True}
    method = mcn_of(staged={**STAGED, **changes}, clustering=clustering, **learned)
    made = space_experiment(readings_data(table), method, encoders=small_encoders(dropout=0.2))
    made = made.model_copy(update={"joint": made.joint.model_copy(update={"epochs": 4, "average": "ema"})})
    (whole,) = train(made, tmp_path / "whole", tmp_path / "a", checkpoint_every_s=0)
    (half,) = stopped_and_repeated(
        lambda: train(made, tmp_path / "half", tmp_path / "b", checkpoint_every_s=0), monkeypatch
    )
    for stage in range(2):
        expected, found = stored(whole, stage, tmp_path / "a"), stored(half, stage, tmp_path / "b")
        assert {"objective.memory.queue", "objective.memory.centroids", "objective.log_temperature"} <= set(expected)
        assert expected.keys() == found.keys()
        assert all(torch.equal(value, found[name]) for name, value in expected.items())
        assert bool(expected["objective.memory.centroids"].any())
    assert [n.metrics for n in whole.retrieval.numbers] == [n.metrics for n in half.retrieval.numbers]


# ---- details of the core -----------------------------------------------------------------------------------------


def test_checkpointed_activations_and_kept_features_change_no_weight(tmp_path):
    """On clips: the video's convolutions have batch statistics, which a second forward pass must not move.

    Without dropout: a stage with another setting draws other random numbers.
    """
    still = {"text": EncoderConfig(name="small_transformer", options={"dropout": 0.0})}
    methods = (mcn_of(staged={"first": ["video", "audio"], "freeze": True}),)
    found = []
    for flag in (False, True):
        made = space_experiment(clips(), *methods, encoders=still)
        made = made.model_copy(update={"joint": made.joint.model_copy(update={"checkpoint_activations": flag})})
        (record,) = train(made, tmp_path / f"out-{flag}", tmp_path / f"cache-{flag}")
        found.append([stored(record, stage, tmp_path / f"cache-{flag}") for stage in range(2)])
    for one, two in zip(*found, strict=True):
        assert one.keys() == two.keys()
        assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_validation_is_measured_at_the_temperature_of_now(table, tmp_path, monkeypatch):
    method = mcn_of(loss="info_nce", learn_temperature=True)
    made = space_experiment(readings_data(table), method, encoders=small_encoders())
    seen: list[float] = []
    contrast = SpaceState.contrast

    def watched(self, device=None):
        loss = contrast(self, device)
        if device is not None:
            seen.append(float(loss.keywords["temperature"].detach()))
        return loss

    monkeypatch.setattr(SpaceState, "contrast", watched)
    train(made, tmp_path / "out", tmp_path / "cache")
    assert len(set(seen)) >= 2
    assert 0.07 not in [round(value, 7) for value in seen]


# ---- errors ------------------------------------------------------------------------------------------------------


def assert_refused(table: Path, folder: Path, words: str, *methods: MethodConfig, **changes) -> None:
    data = changes.pop("data", {})
    made = space_experiment(readings_data(table, **data), *methods, encoders=small_encoders(), **changes)
    with pytest.raises(ValueError, match=words):
        train(made, folder / "out", folder / "cache")
    assert not list((folder / "out").rglob("config.json")), "nothing is written for a request that cannot work"


def test_task_and_method_must_fit(table, tmp_path):
    assert_refused(table, tmp_path, r"learns classes.*retrieval.*mcn", MethodConfig(method="joint"))
    made = space_experiment(clips(), mcn_of())
    labelled = made.model_copy(update={"data": made.data.model_copy(update={"task": "single_label"})})
    labelled = labelled.model_copy(update={"selection": SelectionConfig(metric="accuracy")})
    with pytest.raises(ValueError, match=r"joint space.*single_label.*data\.task=retrieval"):
        train(labelled, tmp_path / "out", tmp_path / "cache")


@pytest.mark.parametrize(
    ("metric", "direction", "words"),
    [
        ("accuracy", "max", r"'accuracy'; valid names: loss, R@1, R@5"),
        ("R@1 a->smell", "max", "R@1 a->text"),
        ("R@1", "min", r"selection\.direction=max"),
        ("MedR text->a", "max", r"selection\.direction=min"),
        ("loss", "max", r"selection\.direction=min"),
        ("R@1 text->a", "max", r"stage 'a\+b' on a, b does not have"),
    ],
)
def test_selection_by_what_is_not_there_or_by_the_worst(metric, direction, words, table, tmp_path):
    selection = SelectionConfig(metric=metric, direction=direction)
    assert_refused(table, tmp_path, words, METHODS[0], selection=selection)
