"""Routes: every rule, and scores against their definition, item by item."""

import logging
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from awase.evaluation import Embedded
from awase.evaluation.directions import ranks_between
from awase.evaluation.router import Router
from awase.evaluation.routes import (
    Route,
    Scale,
    Term,
    possible_routes,
    route_scores,
    route_sides,
    score_moments,
    side_under,
)
from awase.vocabulary import Task

NAMES = ("a", "b", "t")
KEYS = ("a+t", "b+t")
ROWS, DIM = 11, 5
SCALES = {
    "a+t": {"t->a": Scale(0.3, 0.5), "a->t": Scale(0.3, 0.7)},
    "b+t": {"t->b": Scale(-0.2, 2.0), "b->t": Scale(0.1, 3.0)},
    "shared": {"t->a": Scale(0.1, 0.25), "t->b": Scale(0.0, 1.5)},
}


def numbers(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(ROWS, DIM, generator=generator) for name in NAMES}


def embedded(keys: tuple[str, ...] = KEYS) -> Embedded:
    present = {"a": torch.arange(ROWS) % 4 != 1, "b": torch.arange(ROWS) != 6, "t": torch.ones(ROWS, dtype=torch.bool)}
    keyed = {key: {m: numbers(7 + n)[m] for m in key.split("+")} for n, key in enumerate(keys)}
    ids = tuple(f"r{row}" for row in range(ROWS))
    return Embedded(ids, torch.arange(ROWS), numbers(1), present, keyed=keyed)


def unit(value: Tensor) -> Tensor:
    return value / value.norm()


def slow_score(made: Embedded, key: str, task: Task, query: int, item: int, cosine: bool) -> float:
    """The score by its definition: of sums of raw embeddings, or of means of unit ones."""
    own = made.embeddings if key == "shared" else made.keyed[key]

    def fused(names: frozenset[str], row: int) -> Tensor:
        parts = [unit(own[m][row]) if cosine else own[m][row] for m in sorted(names)]
        return torch.stack(parts).mean(0) if cosine else torch.stack(parts).sum(0)

    left, right = fused(task.query.modalities, query), fused(task.target.modalities, item)
    return float((unit(left) if cosine and len(task.query.modalities) == 1 else left) @ right)


def routes_of(router: Router, text: str) -> dict[str, Route]:
    return possible_routes(Task.parse(text), router.keys, router.scales, router.alpha)


def test_tasks_are_read_in_any_order_and_what_is_none_is_refused():
    assert str(Task.parse("t->b+a")) == "t->a+b"
    assert Task.parse("b+a->t").key == "a+b+t"
    for text in ("t", "t->", "->t", "t->t", "a+t->t", "t->a->b", "T->a", "t->shared"):
        with pytest.raises(ValueError, match="is no task, like 'text->video'"):
            Task.parse(text)


# ---- the rules, in order -------------------------------------------------------------------------------------------


def test_one_the_key_of_exactly_the_modalities():
    route = Router(NAMES, ("a+t", "b+t", "a+b+t"), scales=SCALES).resolve("t->a")
    assert (route.kind, route.keys) == ("exact", ("a+t",))
    assert Router(NAMES, ("a+t", "a+b+t"), scales=SCALES).resolve("b+t->a").keys == ("a+b+t",)


def test_two_what_calibration_chose():
    for kind in ("shared", "ensemble"):
        route = Router(NAMES, KEYS, chosen={"t->a": kind}, scales=SCALES).resolve("t->a")
        assert route.kind == kind
        assert route.why.startswith("calibrated")
    with pytest.raises(ValueError, match="'ensemble', which this model cannot take; it can take exact, shared"):
        Router(NAMES, KEYS, chosen={"t->a": "ensemble"}).resolve("t->a")


def test_three_the_mean_over_the_pairs_that_have_a_key(caplog):
    router = Router(NAMES, KEYS, scales=SCALES)
    with caplog.at_level(logging.WARNING):
        assert router.resolve("t->a+b").keys == ("a+t", "b+t")
        assert router.resolve("a+b->t").kind == "pair_average"
        assert Router(NAMES, ("b+t",), scales=SCALES).resolve("t->a+b").keys == ("b+t",)
    assert caplog.messages == []
    without = {key: own for key, own in SCALES.items() if key != "b+t"}
    assert Router(NAMES, KEYS, scales=without).resolve("t->a+b").keys == ("a+t",)


def test_four_the_shared_space_with_one_warning_and_no_nearest_key(caplog):
    router = Router(NAMES, KEYS, scales=SCALES)
    with caplog.at_level(logging.WARNING):
        for text in ("a->b", "b->a", "a->b"):
            assert router.resolve(text).keys == ("shared",)
    assert [message.count("a->b") for message in caplog.messages] == [1]
    caplog.clear()
    assert Router(NAMES, ()).resolve("t->a").keys == ("shared",)
    assert caplog.messages == []  # a space without adapters has nothing to miss


def test_a_key_named_by_hand_is_the_tasks_own_or_shared():
    router = Router(NAMES, KEYS)
    assert router.by_hand("t->a", "a+t").kind == "exact"
    assert router.by_hand("t->a+b", "shared").kind == "shared"
    for text, key in (("t->a", "b+t"), ("t->a+b", "a+t"), ("a->b", "a+b")):
        with pytest.raises(ValueError, match="exactly its own modalities"):
            router.by_hand(text, key)
    with pytest.raises(ValueError, match="needs smell, which the model lacks; it has a, b, t"):
        router.resolve("t->smell")


# ---- a whole gallery under one key -----------------------------------------------------------------------------------


def test_a_gallery_is_ranked_under_the_key_that_all_items_have():
    router = Router(NAMES, (*KEYS, "a+b+t"), scales=SCALES)
    everyone, some = torch.ones(5, dtype=torch.bool), torch.tensor([True, True, False, True, True])
    assert router.resolve("t->a+b", {"a": everyone, "b": everyone}).keys == ("a+b+t",)
    route = router.resolve("t->a+b", {"a": some, "b": everyone})
    assert (str(route.task), route.keys) == ("t->b", ("b+t",))
    assert route.why.startswith("not all items have all of a+b")
    # An item with neither is not in the gallery, as it cannot be compared.
    assert str(router.resolve("t->a+b", {"a": some, "b": some}).task) == "t->a+b"
    with pytest.raises(ValueError, match=r"had by all of its 5 items \(a: 4, b: 1\)\. Leave out"):
        router.resolve("t->a+b", {"a": some, "b": ~some})
    with pytest.raises(ValueError, match="had by all of its 0 items"):
        router.resolve("t->a", {"a": torch.zeros(3, dtype=torch.bool)})
    with pytest.raises(ValueError, match="The gallery has no b; it has a"):
        router.resolve("t->a+b", {"a": some})


# ---- scores -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize(
    ("text", "kind"), [("t->a", "exact"), ("t->a", "ensemble"), ("t->a+b", "pair_average"), ("a+b->t", "shared")]
)
def test_scores_are_the_sums_of_normalised_ones_and_ranks_are_theirs(text: str, kind: str, cosine: bool):
    router = Router(NAMES, KEYS, scales=SCALES, alpha=0.4)
    made, task, route = embedded(), Task.parse(text), routes_of(router, text)[kind]
    scores = route_scores(made, made, route, cosine=cosine)
    terms = {
        "exact": [("a+t", "t->a", 1.0, Scale(0.0, 1.0))],
        "shared": [("shared", text, 1.0, Scale(0.0, 1.0))],
        "ensemble": [
            ("shared", "t->a", 0.4, SCALES["shared"]["t->a"]),
            ("a+t", "t->a", 0.6, SCALES["a+t"]["t->a"]),
        ],
        "pair_average": [(f"{m}+t", f"t->{m}", 0.5, SCALES[f"{m}+t"][f"t->{m}"]) for m in ("a", "b")],
    }[kind]
    there = {
        which: torch.stack([made.present[m] for m in sorted(getattr(task, which).modalities)]).all(0)
        for which in ("query", "target")
    }
    for query in range(ROWS):
        for item in range(ROWS):
            if not (there["query"][query] and there["target"][item]):
                assert bool(scores[query, item].isnan())
                continue
            expected = sum(
                weight * (slow_score(made, key, Task.parse(own), query, item, cosine) - scale.mean) / scale.deviation
                for key, own, weight, scale in terms
            )
            assert float(scores[query, item]) == pytest.approx(expected, abs=1e-5)
    ranks = ranks_between(route_sides(made, route, cosine=cosine)[1])
    for query, rank in enumerate(ranks.tolist()):
        own = scores[query, query]
        better = int((scores[query] >= own).sum()) - 1
        assert rank == (-1 if bool(own.isnan()) else better)


def test_two_sides_under_different_keys_are_refused():
    made = embedded()
    route = Router(NAMES, KEYS).resolve("t->a")
    one, other = made.of_key("a+t"), made.of_key("b+t")
    torch.testing.assert_close(
        route_scores(one, one, route, cosine=True),
        route_scores(made, made, route, cosine=True),
        equal_nan=True,
    )
    with pytest.raises(ValueError, match=r"under a\+t, the items under b\+t"):
        route_scores(one, other, route, cosine=True)
    with pytest.raises(ValueError, match=r"not embedded under a\+t; they are under b\+t"):
        side_under(other, route, "query", cosine=True)
    with pytest.raises(ValueError, match=r"not embedded under a\+b; they are under shared, a\+t, b\+t"):
        made.of_key("a+b")


def test_captions_ask_and_a_clip_is_there_once():
    made = embedded()
    clips = torch.tensor([0, 0, 1, 1, 1, 2, 3, 4, 4, 5, 6])
    keyed = {key: {m: v if m == "t" else v[first(clips)] for m, v in own.items()} for key, own in made.keyed.items()}
    made = replace(
        made,
        keyed=keyed,
        embeddings={m: v if m == "t" else v[first(clips)] for m, v in made.embeddings.items()},
        present={m: v[first(clips)] for m, v in made.present.items()},
        several={"t": clips},
    )
    for text, queries, items in (("t->a", 11, 7), ("a->t", 7, 11), ("a->b", 7, 7)):
        route = possible_routes(Task.parse(text), KEYS, SCALES)["shared"]
        base, sides = route_sides(made, route, cosine=True)
        assert (len(sides.asking), len(sides.items)) == (queries, items)
        assert len(base) == (11 if "t" in text else 7)


def first(clips: Tensor) -> Tensor:
    """Of every sample the first of its clip."""
    return torch.tensor([int((clips == clip).nonzero()[0, 0]) for clip in clips])


def test_moments_are_those_of_the_matrix():
    left, right = numbers(3)["a"], numbers(4)["b"][:7]
    scores = (left @ right.T).double()
    mean, deviation = score_moments(left, right)
    assert mean == pytest.approx(float(scores.mean()), abs=1e-6)
    assert deviation == pytest.approx(float(scores.std(correction=0)), rel=1e-6)
    assert Term("a+t", Task.parse("t->a")).scale == Scale(0.0, 1.0)
