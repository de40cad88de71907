"""Merging keys of a run: what is measured, by hand; what is written; and that worse than shared is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from calls import assert_refused, call
from test_runner_combinations import COMBINATION, method_of
from tiny_spaces import reading_rows, readings_data, small_encoders, space_experiment, train, write_rows
from torch import Tensor

from awase import Space
from awase.adapters import Bank
from awase.adapters.product import delta_weight
from awase.models import one_modality, plain
from awase.records import read_record
from awase.runner import merged_key
from awase.runner.merged_key import merge_run

KEYS = ("a+text", "b+text")
DIRECTIONS = ("a->text", "text->a", "b->text", "text->b")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("merged")
    table = write_rows(folder / "rows.jsonl", reading_rows({"a": 5, "b": 4, "text": 7}))
    method = method_of(combination={**COMBINATION, "adapter": {"rank": 3, "alpha": 6.0}})
    train(space_experiment(readings_data(table), method, encoders=small_encoders()), folder / "out", folder / "cache")
    return {"run": next((folder / "out").rglob("record.json")).parent, "cache": folder / "cache", "table": table}


@pytest.fixture
def agreeable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation that finds the merged key as good as the shared space, whatever it is."""
    difference = merged_key.paired_difference

    def at_least_zero(a: Any, b: Any, groups: Any) -> Any:
        found = difference(a, b, groups)
        return replace(found, difference=max(found.difference, 0.0))

    monkeypatch.setattr(merged_key, "paired_difference", at_least_zero)


def dense(space: Space, name: str, weights: dict[str, float]) -> dict[str, Tensor]:
    """The weighted sums of the products of a modality's keys, by layer."""
    bank = Bank(one_modality(space.model, name))
    total = sum(weights.values())
    return {
        layer: sum(  # type: ignore[misc]
            w / total * delta_weight(bank.encoder.get_submodule(layer), bank.adapters(key)[layer])
            for key, w in weights.items()
        )
        for layer in bank.layer_names(next(iter(weights)))
    }


@pytest.mark.usefixtures("agreeable")
def test_the_folder_holds_the_weighted_mean_as_the_key_of_all(places: dict[str, Path], tmp_path: Path) -> None:
    space = Space.from_pretrained(places["run"], device="cpu", cache=places["cache"])
    found = merge_run(
        places["run"], KEYS, tmp_path / "out", weights={"a+text": 3.0}, device="cpu", cache=places["cache"]
    )
    assert (found.key, found.weights, found.rank) == ("a+b+text", {"a+text": 3.0, "b+text": 1.0}, 6)
    again = Space.from_pretrained(tmp_path / "out", device="cpu", cache=tmp_path / "nothing")
    assert again.model.combinations == ("a+b+text",)
    for name, weights in {"text": {"a+text": 3.0, "b+text": 1.0}, "a": {"a+text": 3.0}, "b": {"b+text": 1.0}}.items():
        bank = Bank(one_modality(again.model, name))
        for layer, expected in dense(space, name, weights).items():
            delta = delta_weight(bank.encoder.get_submodule(layer), bank.adapters("a+b+text")[layer])
            torch.testing.assert_close(delta, expected, rtol=1e-4, atol=1e-5)
    value = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    alone = plain(space.model, "a", "a+text")(value)  # one key alone: its own adapters
    torch.testing.assert_close(plain(again.model, "a", "a+b+text")(value), alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(plain(again.model, "a", "shared")(value), plain(space.model, "a", "shared")(value))
    document = json.loads((tmp_path / "out" / "merge.json").read_text())
    assert document["against_shared"]["items"] == found.against_shared.items


def recall_by_hand(queries: Tensor, gallery: Tensor, asked: Tensor, there: Tensor, k: int) -> list[float]:
    """For every sample, whether fewer than k other items score as well as its own."""
    unit = [torch.nn.functional.normalize(value, dim=1) for value in (queries, gallery)]
    scores = unit[0] @ unit[1].T
    hits = []
    for row in range(len(scores)):
        if not (asked[row] and there[row]):
            hits.append(0.0)
            continue
        better = sum(
            bool(there[item]) and scores[row, item] >= scores[row, row] for item in range(len(scores)) if item != row
        )
        hits.append(float(better < k))
    return hits


@pytest.mark.usefixtures("agreeable")
def test_validation_is_measured_and_nothing_else_is_read(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    embed_split = merged_key.embed_split

    def watched(model: Any, split: str, setting: Any) -> Any:
        seen.append(split)
        return embed_split(model, split, setting)

    monkeypatch.setattr(merged_key, "embed_split", watched)
    before = (places["run"] / "record.json").read_bytes()
    found = merge_run(places["run"], KEYS, tmp_path / "out", rule="ties", device="cpu", cache=places["cache"])
    assert (places["run"] / "record.json").read_bytes() == before
    assert read_record(places["run"]).test_looks == ()
    assert seen == ["val", "val"]
    assert (found.metric, set(found.directions)) == ("R@1", set(DIRECTIONS))
    rows = [json.loads(line) for line in places["table"].read_text().splitlines()]
    table = write_rows(tmp_path / "val.jsonl", [row for row in rows if row["split"] == "val"])
    merged = Space.from_pretrained(tmp_path / "out", device="cpu", cache=tmp_path / "nothing").embed(table)
    own = Space.from_pretrained(places["run"], device="cpu", cache=places["cache"]).embed(table)
    expected: dict[str, list[float]] = {"merged": [], "shared": [], "own": []}
    for one in found.directions:
        query, gallery = one.split("->")
        sources = {
            "merged": merged.keyed["a+b+text"],
            "shared": own.embeddings,
            "own": own.keyed["+".join(sorted((query, gallery)))],
        }
        for name, values in sources.items():
            present = own.present
            expected[name] += recall_by_hand(values[query], values[gallery], present[query], present[gallery], 1)
    for name, values in expected.items():
        assert getattr(found, name) == pytest.approx(np.mean(values))
    assert found.against_shared.items == 4 * len(own)
    assert found.against_shared.groups == len(own)  # all queries of a sample are drawn together


def spoilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every merged embedding the same, so that nothing is found."""
    embed_split = merged_key.embed_split

    def flat(model: Any, split: str, setting: Any) -> Any:
        found = embed_split(model, split, setting)
        if model.combinations == ("a+b+text",):
            for values in found.keyed["a+b+text"].values():
                values.fill_(1.0)
        return found

    monkeypatch.setattr(merged_key, "embed_split", flat)


def test_worse_than_shared_is_refused(places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt(monkeypatch)
    result = call(
        *("merge", places["run"], "--keys", "a+text,b+text", "--rule", "ties", "--out", tmp_path / "out"),
        *("--cache", places["cache"], "--device", "cpu"),
    )
    assert_refused(result, "worse than the shared space on validation and is not written", "R@1 0.0000 against")
    assert not any(tmp_path.iterdir())


@pytest.mark.usefixtures("agreeable")
def test_the_command_says_what_it_found(places: dict[str, Path], tmp_path: Path) -> None:
    more = ("--cache", places["cache"], "--device", "cpu", "--weight", "b+text=2", "--rule", "svd")
    result = call("merge", places["run"], "--keys", "a+text, b+text", "--out", tmp_path / "out", *more)
    assert (result.code, result.err) == (0, "")
    assert "a+b+text, merged from a+text, b+text by svd, rank 3" in result.out
    assert "merged - shared: " in result.out
    assert "merged - own keys: " in result.out
    result = call("merge", places["run"], "--keys", "a+text,b+text", "--out", tmp_path / "json", "--json", *more)
    assert json.loads(result.out)["weights"] == {"a+text": 1.0, "b+text": 2.0}


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--keys", "a+text"), "Two or more different keys"),
        (("--keys", "a+text,a+x"), "no key a+x; it has a+b, a+text"),
        (("--keys", "a+text,b+text", "--weight", "a+b=1"), "a weight of a+b"),
        (("--keys", "a+text,b+text", "--weight", "a+text=0"), "above 0"),
        (("--keys", "a+text,b+text", "--weight", "a+text"), "written audio+text=2"),
        (("--keys", "a+text,b+text", "--rule", "dare"), "no rule 'dare'; valid names: linear, svd, ties"),
    ],
)
def test_requests_that_cannot_be(
    places: dict[str, Path], tmp_path: Path, arguments: tuple[str, ...], match: str
) -> None:
    more = ("--cache", places["cache"], "--device", "cpu", "--out", tmp_path / "out")
    assert_refused(call("merge", places["run"], *arguments, *more), match)
    assert not any(tmp_path.iterdir())
