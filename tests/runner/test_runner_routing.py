"""Routes and keys from a run to `Space` and to a collection: what is written, what is refused, what is compared."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from cli.calls import call
from tiny_spaces import reading_rows, readings_data, small_encoders, space_experiment, train, write_rows

from awase import Collection, Space
from awase.config import MethodConfig
from awase.digest import tensors_digest
from awase.records import read_record
from awase.runner import routing as routing_module
from awase.runner.collection_embed import embed_table
from awase.runner.folder import RefusedError
from awase.runner.routing import ROUTING_NAME, Routing, read_routing, routing_of
from awase.runner.space_files import read_embeddings

KEYS = ("a+text", "b+text", "a+b+text")
SPACE: dict[str, Any] = {"space": {"dim": 13}, "loss": "info_nce", "clustering": None}
SETTINGS: dict[str, Any] = {
    "retrieval": SPACE,
    "keys": list(KEYS),
    "combination": {"place": "head", "adapter": {"rank": 2}},
}
VAL = 47  # 24 choose: enough groups


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("routes")
    table = write_rows(folder / "rows.jsonl", reading_rows(sizes={"train": 41, "val": VAL, "test": 23}))
    method = MethodConfig(method="pair_adapters", settings=SETTINGS)
    train(space_experiment(readings_data(table), method, encoders=small_encoders()), folder / "out", folder / "cache")
    write_rows(folder / "new.jsonl", reading_rows({"a": 5, "b": 4}, {"new": 17}))
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    return place / "out" / "pair_adapters" / "seed-0"


@pytest.fixture(scope="module")
def space(place: Path, run: Path) -> Space:
    return Space.from_pretrained(run, device="cpu", cache=place / "cache")


def document(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / ROUTING_NAME).read_text())
    return found


def written(folder: Path, changed: dict[str, Any]) -> Path:
    (folder / ROUTING_NAME).write_text(json.dumps(changed))
    return folder


# ---- routing.json ------------------------------------------------------------------------------------------------


def test_a_run_writes_its_routes_from_validation_alone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = document(run)
    assert (found["format_version"], found["keys"], found["alpha"]) == (1, list(KEYS), 0.25)
    one = found["tasks"]["text->a"]
    assert one["queries"] == [24, 23]
    assert one["gallery"] == VAL
    assert set(one["candidates"]) == {"exact", "shared", "ensemble"}
    assert set(found["tasks"]["text->a+b"]["candidates"]) == {"exact", "shared", "ensemble", "pair_average"}
    assert found["tasks"]["a->b"]["route"] == "shared"
    assert "normalised per key" in found["about"]
    splits = []

    def noted(folder: Path, stage: str, split: str):
        splits.append(split)
        return read_embeddings(folder, stage, split)

    monkeypatch.setattr(routing_module, "read_embeddings", noted)
    again = routing_of(run, "combinations", model=found["model"], keys=KEYS, alpha=0.25, cosine=True, seed=0)
    assert splits == ["val"]
    assert json.loads(again.model_dump_json()) == found


def test_a_run_has_the_numbers_of_the_shared_space_beside_those_under_keys(run: Path) -> None:
    found = read_record(run).retrieval
    assert found is not None
    shared = {(n.split, n.direction): n.metrics for n in found.numbers if n.stage == "joint"}
    keyed = {(n.split, n.direction): n for n in found.numbers if n.stage == "combinations"}
    assert {one: n.under for one, n in keyed.items() if one[0] == "test"} == {
        ("test", "text->a"): "a+text",
        ("test", "a->text"): "a+text",
        ("test", "text->b"): "b+text",
        ("test", "b->text"): "b+text",
        **{("test", one): "a+b+text" for one in ("a->b+text", "b->a+text", "text->a+b")},
        **{("test", one): None for one in ("a->b", "b->a")},
    }
    agnostic = {(n.split, n.direction): n for n in found.agnostic}
    assert set(agnostic) == {one for one, number in keyed.items() if number.under is not None}
    assert all(number.metrics == shared[one] for one, number in agnostic.items())
    assert all(number.stage == "combinations" and number.under is None for number in agnostic.values())
    assert any(keyed[one].metrics != number.metrics for one, number in agnostic.items())


def test_the_weight_of_an_ensemble_is_a_setting_that_trains_nothing_anew(place: Path, run: Path) -> None:
    settings = {**SETTINGS, "combination": {**SETTINGS["combination"], "ensemble": 0.75}}
    method = MethodConfig(method="pair_adapters", settings=settings)
    data = readings_data(place / "rows.jsonl")
    (record,) = train(space_experiment(data, method, encoders=small_encoders()), place / "other", place / "cache")
    assert all(stage.reused for stage in record.stages)
    assert document(place / "other" / "pair_adapters" / "seed-0")["alpha"] == 0.75


def test_files_that_do_not_fit_are_refused(run: Path, space: Space, tmp_path: Path) -> None:
    weights = tensors_digest(space.model.state_dict())
    whole = document(run)

    def read(**changes: Any) -> Routing:
        folder = written(tmp_path, {**whole, **changes})
        return read_routing(folder, model=weights, modalities=space.modalities, keys=space.keys)

    assert read().tasks == read_routing(run, model=weights, modalities=space.modalities, keys=space.keys).tasks
    exact = whole["tasks"]["text->a"]
    cases = [
        ({"model": "0" * 32}, "calibrated for another model"),
        ({"keys": [*KEYS, "a+b"]}, r"names the key a\+b, which the model lacks; it has a\+text"),
        ({"tasks": {"text->a": {**exact, "keys": ["a+b"]}}}, r"names the key a\+b, which the model lacks"),
        ({"tasks": {"text": exact}}, "'text' is no task"),
        ({"tasks": {"text->smell": exact}}, "needs smell, which the model lacks"),
        ({"tasks": {"text->a": {**exact, "route": "exact", "keys": ["b+text"]}}}, r"What works: exact under a\+text"),
        ({"tasks": {"a->b": {**exact, "route": "exact", "keys": ["a+text"]}}}, "What works: shared under shared"),
        ({"tasks": {"text->a": {**exact, "route": "nearest"}}}, "damaged or no table of routes"),
        ({"format_version": 2}, "format version 2; this awase reads 1"),
    ]
    for changes, words in cases:
        with pytest.raises(ValueError, match=words):
            read(**changes)
    (tmp_path / ROUTING_NAME).unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no routing\.json"):
        read_routing(tmp_path, model=weights, modalities=space.modalities, keys=space.keys)


def test_a_saved_model_keeps_its_routes(space: Space, tmp_path: Path) -> None:
    space.save_pretrained(tmp_path / "saved")
    again = Space.from_pretrained(tmp_path / "saved", device="cpu")
    assert again.router.chosen == space.router.chosen
    changed = json.loads((tmp_path / "saved" / ROUTING_NAME).read_text())
    written(tmp_path / "saved", {**changed, "model": "f" * 32})
    with pytest.raises(ValueError, match="another model"):
        Space.from_pretrained(tmp_path / "saved", device="cpu").route("text->a")


def test_without_a_file_the_rules_are_the_keys_alone(
    space: Space, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    space.save_pretrained(tmp_path)
    (tmp_path / ROUTING_NAME).unlink()
    again = Space.from_pretrained(tmp_path, device="cpu")
    with caplog.at_level(logging.WARNING):
        assert [again.route(task).kind for task in ("text->a", "text->a+b", "a->b", "b->a")] == [
            "exact",
            "exact",
            "shared",
            "shared",
        ]
    assert len(caplog.messages) == 1


# ---- embeddings and scores under a key ---------------------------------------------------------------------------


def test_embedding_under_a_key_is_that_keys_part_of_the_whole(space: Space, place: Path) -> None:
    whole = space.embed(place / "new.jsonl")
    assert set(whole.keyed) == set(KEYS)
    assert whole.key is None
    for key in KEYS:
        own = space.embed(place / "new.jsonl", under=key)
        assert set(own.embeddings) == set(own.present) == set(key.split("+"))
        assert (own.key, own.keyed) == (key, {})
        for name, value in own.embeddings.items():
            here = own.present[name]
            torch.testing.assert_close(value[here], whole.keyed[key][name][here])
    shared = space.embed(place / "new.jsonl", under="shared")
    torch.testing.assert_close(shared.embeddings["a"], whole.embeddings["a"])
    assert shared.keyed == {}
    for wrong in ("a+b", "text+a", "smell"):
        with pytest.raises(ValueError, match=r"no adapters of .* What works: a\+text, b\+text"):
            space.embed([{"text": "rain"}], under=wrong)


def test_scores_of_a_task_are_under_its_key(space: Space, place: Path) -> None:
    queries = space.embed([{"text": "rain snow"}, {"text": "wind"}])
    items = space.embed(place / "new.jsonl")
    full = torch.stack([items.present[name] for name in ("a", "b")]).all(0)
    q = torch.nn.functional.normalize(queries.keyed["a+text"]["text"], dim=1)
    g = torch.nn.functional.normalize(items.keyed["a+text"]["a"], dim=1)
    found = space.scores(queries, items, "text->a", under="a+text")
    torch.testing.assert_close(found[:, items.present["a"]], (q @ g.T)[:, items.present["a"]])
    assert bool(found[:, ~items.present["a"]].isnan().all())
    one, two = (space.embed(rows, under="a+text") for rows in ([{"text": "rain snow"}], place / "new.jsonl"))
    torch.testing.assert_close(space.scores(one, two, "text->a"), found[:1], equal_nan=True)
    with pytest.raises(ValueError, match="exactly its own modalities"):
        space.scores(queries, items, "text->a", under="b+text")
    with pytest.raises(ValueError, match="exactly its own modalities"):
        space.scores(one, two, "text->b")
    with pytest.raises(ValueError, match="not embedded under b"):
        space.scores(one, items, "text->b", under="b+text")
    with pytest.raises(ValueError, match="scores between two keys mean nothing"):
        space.scores(one, space.embed(place / "new.jsonl", under="shared"), "text->a")
    assert not bool(full.all())
    with pytest.raises(ValueError, match="no modality of a\\+b is had by all"):
        space.scores(queries, items, "text->a+b")


# ---- collections -------------------------------------------------------------------------------------------------


def test_a_collection_remembers_its_key(space: Space, run: Path, place: Path, tmp_path: Path) -> None:
    header = embed_table(space, run, place / "new.jsonl", tmp_path / "c", under="a+text", shard_rows=5)
    assert (header.under, header.modalities) == ("a+text", ("a", "text"))
    collection = Collection.open(tmp_path / "c")
    collection.use(space)
    items, query = (space.embed(rows, under="a+text") for rows in (place / "new.jsonl", [{"text": "rain"}]))
    scores = space.scores(query, items, "text->a")[0]
    found = collection.search("rain", k=17)
    assert (found.under, found.gallery, found.missing) == ("a+text", ("a",), int((~items.present["a"]).sum()))
    best = scores[items.present["a"]].sort(descending=True).values
    assert [hit.score for hit in found.hits] == pytest.approx(best.tolist(), abs=1e-6)
    # Another key is another collection.
    with pytest.raises(RefusedError, match="under"):
        embed_table(space, run, place / "new.jsonl", tmp_path / "c", under="b+text", shard_rows=5)
    with pytest.raises(ValueError, match="b is no choice of modalities for the collection; valid names, each once: a"):
        collection.search("rain", within=("b",))
    with pytest.raises(ValueError, match="b is no choice of modalities for the query"):
        collection.search("[1, 2, 3, 4, 5]", of="b")


def test_a_key_of_three_is_for_all_of_them_and_for_items_that_have_all(
    space: Space, run: Path, place: Path, tmp_path: Path
) -> None:
    embed_table(space, run, place / "new.jsonl", tmp_path / "c", under="a+b+text")
    collection = Collection.open(tmp_path / "c")
    collection.use(space)
    items = space.embed(place / "new.jsonl")
    both = int((items.present["a"] & items.present["b"]).sum())
    found = collection.search("rain", k=17)
    assert (len(found.hits), found.missing) == (both, 17 - both)
    with pytest.raises(ValueError, match=r"search in a\+b; for text in a embed the table again with --under a\+text"):
        collection.search("rain", within=("a",))
    with pytest.raises(ValueError, match=r"With a query of a search in b\+text"):
        collection.search_vector(torch.ones(13), "a", ("b",))


def test_embed_and_search_on_the_command_line(run: Path, place: Path, tmp_path: Path) -> None:
    cache, out = ("--device", "cpu", "--cache", place / "cache"), tmp_path / "c"
    made = call("embed", run, place / "new.jsonl", "--out", out, "--under", "b+text", *cache)
    assert made.code == 0, made.err
    found = call("search", "rain", out, "-k", 3, *cache)
    assert "cosine of text with b under b+text; 12 of 17 items compared" in found.out
    assert json.loads(call("search", "rain", out, "--json", *cache).out)["under"] == "b+text"
    refused = call("embed", run, place / "new.jsonl", "--out", tmp_path / "d", "--under", "a+b", *cache)
    assert refused.code == 2
    assert "no adapters of 'a+b'" in refused.err
    assert call("embed", run, place / "new.jsonl", "--out", out, *cache).code == 2
