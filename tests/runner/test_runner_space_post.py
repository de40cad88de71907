from dataclasses import replace

import pytest
import torch

from awase.evaluation import Direction, Embedded, ranks_from_scores, ranks_of
from awase.evaluation.directions import Sides, sides_of
from awase.evaluation.routes import score_moments
from awase.runner.space_post import POST, SHARPNESS, choose_beta, post_ranks


def sides(num: int = 23, *, seed: int = 0, cosine: bool = False, hub: float = 0.0) -> Sides:
    """Matching sides of which every sixth item is missing; `hub` adds one direction to every query and to item 0."""
    generator = torch.Generator().manual_seed(seed)
    item = torch.randn(num, 11, generator=generator)
    query = item + 1.5 * torch.randn(num, 11, generator=generator)
    query[:, 0] += hub
    item[1, 0] += hub
    present = {"a": torch.ones(num, dtype=torch.bool), "b": torch.arange(num) % 6 != 0}
    data = Embedded(tuple(map(str, range(num))), torch.arange(num), {"a": query, "b": item}, present)
    return sides_of(data, Direction("a", ("b",)), cosine=cosine)


@pytest.mark.parametrize("cosine", [False, True])
def test_without_post_processing_ranks_are_those_of_the_record(cosine: bool):
    generator = torch.Generator().manual_seed(1)
    values = {name: torch.randn(19, 5, generator=generator) for name in ("a", "b", "c")}
    present = {name: torch.rand(19, generator=generator) > 0.2 for name in values}
    data = Embedded(tuple(map(str, range(19))), torch.arange(19), values, present)
    same = {"a": torch.arange(19) // 3}
    for gallery in (("b",), ("b", "c")):
        direction = Direction("a", gallery)
        for equal in (None, same):
            ranks = ranks_of(data, direction, cosine=cosine, same=equal)
            found = sides_of(data, direction, cosine=cosine, same=equal)
            assert found.asked.tolist() == present["a"].tolist()
            assert post_ranks(found, "none").tolist() == ranks.tolist()


def test_query_banks_against_the_formula():
    found, bank, beta = sides(), sides(17, seed=5).queries, 0.3
    scores = (found.queries @ found.gallery.T).double()
    back = (beta * (bank @ found.gallery.T).double()).logsumexp(0) / beta
    static = ranks_from_scores(scores - back, found.match, gallery_present=found.there)
    assert post_ranks(found, "query_bank", beta, bank).tolist() == static.tolist()
    assert static.tolist() != post_ranks(found, "none").tolist()
    hidden = torch.where(found.there, 0.0, -torch.inf)
    hubs = ((bank @ found.gallery.T) + hidden).argmax(1)
    known = torch.isin((scores + hidden).argmax(1), hubs)
    dynamic = ranks_from_scores(scores - known[:, None] * back, found.match, gallery_present=found.there)
    assert post_ranks(found, "dynamic_query_bank", beta, bank).tolist() == dynamic.tolist()


def test_a_query_that_is_missing_has_its_place():
    found, bank = sides(), sides(17, seed=5).queries
    some = torch.arange(23) % 4 != 1
    ranks = post_ranks(found, "query_bank", 0.3, bank)
    there = post_ranks(replace(found, asked=some), "query_bank", 0.3, bank)
    assert there.tolist() == ranks.where(some, -1).tolist()


def test_transductive_ways_against_the_formulas():
    found, beta = sides(), 0.2
    scores = (found.queries @ found.gallery.T).double()
    inverted = scores - (beta * scores).logsumexp(0) / beta
    expected = ranks_from_scores(inverted, found.match, gallery_present=found.there)
    assert post_ranks(found, "transductive_inverted_softmax", beta).tolist() == expected.tolist()
    dual = scores * (beta * scores).softmax(0)
    expected = ranks_from_scores(dual, found.match, gallery_present=found.there)
    assert post_ranks(found, "transductive_dual_softmax", beta).tolist() == expected.tolist()
    part = beta * scores[:, found.there]
    for _ in range(50):
        part = part - part.logsumexp(1, keepdim=True)
        part = part - part.logsumexp(0, keepdim=True)
    whole = torch.full_like(scores, -torch.inf).masked_fill(~found.there, 0)
    whole[:, found.there] = part
    expected = ranks_from_scores(whole, found.match, gallery_present=found.there)
    assert post_ranks(found, "transductive_sinkhorn", beta).tolist() == expected.tolist()


@pytest.mark.parametrize("post", POST)
def test_what_looks_at_the_other_queries_says_so_in_its_name(post: str):
    found, bank = sides(hub=3.0), sides(17, seed=5).queries
    some = torch.arange(0, 23, 3)
    given = (post, None if post == "none" else 0.3, bank)
    changes = post_ranks(found, *given)[some].tolist() != post_ranks(found.take(some), *given).tolist()
    assert changes == POST[post].startswith("transductive")


def test_deviation_of_scores():
    found = sides()
    scores = (found.queries @ found.gallery[found.there].T).double()
    mean, deviation = score_moments(found.queries, found.gallery[found.there])
    assert mean == pytest.approx(float(scores.mean()), rel=1e-5)  # scores of float32
    assert deviation == pytest.approx(float(scores.std(correction=0)), rel=1e-5)
    assert score_moments(torch.ones(23, 11), torch.ones(23, 11)) == (11.0, 1.0)


@pytest.mark.parametrize("post", ["query_bank", "transductive_dual_softmax"])
def test_beta_is_the_best_on_validation_with_a_bank_of_its_own(post: str):
    found = sides(37, hub=3.0)
    scale = score_moments(found.queries[found.asked], found.gallery[found.there])[1]
    asking = found.take(torch.arange(0, 37, 2)) if post == "query_bank" else found
    bank = found.queries[1::2] if post == "query_bank" else None
    tried = []
    for sharpness in SHARPNESS:
        ranks = post_ranks(asking, post, sharpness / scale, bank)
        tried.append(((ranks[ranks >= 0] + 1).double().log().mean().item(), sharpness / scale))
    assert choose_beta(found, post) == pytest.approx(min(tried)[1])


def test_too_few_queries_to_choose_beta():
    with pytest.raises(ValueError, match="3 queries here; give it with --beta"):
        choose_beta(sides(3), "query_bank")


def test_no_validation_query_is_in_the_bank_that_normalises_it(monkeypatch: pytest.MonkeyPatch):
    found, seen = sides(19), []

    def recorded(asking: Sides, post: str, beta: float, bank: torch.Tensor) -> torch.Tensor:
        seen.append((asking.queries, bank))
        return post_ranks(asking, post, beta, bank)

    monkeypatch.setattr("awase.runner.space_post.post_ranks", recorded)
    choose_beta(found, "query_bank")
    assert len(seen) == len(SHARPNESS)
    for queries, bank in seen:
        assert (len(queries), len(bank)) == (10, 9)
        assert not bool((torch.cdist(queries, bank) == 0).any())
