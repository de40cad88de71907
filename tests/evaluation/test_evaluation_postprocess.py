"""Post-processing against matrices written out in float64."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from awase.evaluation.postprocess import bank_hubness, query_bank_normalised
from awase.evaluation.ranks import exact_ranks, ranks_from_scores
from awase.evaluation.transductive import (
    transductive_dual_softmax_ranks,
    transductive_inverted_softmax,
    transductive_sinkhorn,
)
from awase.objectives import transport_plan

QUERIES, ITEMS, BANK, DIM = 59, 47, 31, 5
TILES = (None, 1)


def example(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    queries, gallery, bank = (torch.randn(n, DIM, generator=generator) for n in (QUERIES, ITEMS, BANK))
    return queries, gallery, bank, torch.randint(ITEMS, (QUERIES,), generator=generator)


def products(a: Tensor, b: Tensor) -> Tensor:
    return a.double() @ b.double().T


@pytest.mark.parametrize("tile_bytes", TILES)
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_query_bank_is_the_definition(kind: str, normalise: bool, tile_bytes: int | None):
    queries, gallery, bank, match = example()
    if normalise:
        queries, gallery, bank = (part * (torch.arange(len(part)) + 1)[:, None] for part in (queries, gallery, bank))
    longer = query_bank_normalised(
        queries, gallery, bank, beta=3.0, kind=kind, normalise=normalise, tile_bytes=tile_bytes
    )
    if normalise:
        queries, gallery, bank = (part / part.norm(dim=1, keepdim=True) for part in (queries, gallery, bank))
    scores, known = products(queries, gallery), products(bank, gallery)
    expected = scores - (3.0 * known).exp().sum(0).log() / 3.0
    if kind == "dynamic":
        hubs = set(known.argmax(1).tolist())
        for i, best in enumerate(scores.argmax(1).tolist()):
            if best not in hubs:
                expected[i] = scores[i]
        assert 0 < sum(best in hubs for best in scores.argmax(1).tolist()) < QUERIES
    torch.testing.assert_close(products(*longer), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(exact_ranks(*longer, match), ranks_from_scores(expected, match))


def test_the_ratio_of_exponentials_has_the_same_order():
    """exp(beta s) / sum over the bank of exp(beta s), as it is usually written."""
    queries, gallery, bank, match = example(1)
    ratio = (2 * products(queries, gallery)).exp() / (2 * products(bank, gallery)).exp().sum(0)
    longer = query_bank_normalised(queries, gallery, bank, beta=2.0, kind="static")
    assert torch.equal(exact_ranks(*longer, match), ranks_from_scores(ratio, match))


def test_hubness_worked_by_hand_and_far_from_overflow():
    assert float(bank_hubness(torch.ones(2, 1), torch.zeros(1, 1), 2.0)) == pytest.approx(math.log(2) / 2)
    assert float(bank_hubness(torch.ones(2, 1), torch.full((1, 1), 5000.0), 2.0)) == pytest.approx(5000.3466, abs=1e-3)


def test_one_test_query_does_not_see_the_others():
    queries, gallery, bank, match = example(2)
    longer = query_bank_normalised(queries, gallery, bank, beta=3.0)
    alone = [query_bank_normalised(queries[i : i + 1], gallery, bank, beta=3.0) for i in range(7)]
    ranks = [int(exact_ranks(*parts, match[i : i + 1])) for i, parts in enumerate(alone)]
    assert ranks == exact_ranks(*longer, match)[:7].tolist()


def slow_sinkhorn(scores: np.ndarray, tau: float, iterations: int) -> np.ndarray:
    """Kernels scaled until rows and columns have equal sums."""
    kernel = np.exp(scores / tau)
    right = np.ones(scores.shape[1])
    for _ in range(iterations):
        left = 1 / scores.shape[0] / (kernel @ right)
        right = 1 / scores.shape[1] / (kernel.T @ left)
    return left[:, None] * kernel * right


@pytest.mark.parametrize("tile_bytes", TILES)
def test_sinkhorn_is_the_scaled_kernel(tile_bytes: int | None):
    queries, gallery, _, match = example(3)
    longer = transductive_sinkhorn(queries, gallery, tau=1.3, iterations=23, tile_bytes=tile_bytes)
    plan = torch.tensor(slow_sinkhorn(products(queries, gallery).numpy(), 1.3, 23))
    assert torch.equal(exact_ranks(*longer, match), ranks_from_scores(plan, match))
    # The one Sinkhorn of the objectives, which begins with the columns.
    torch.testing.assert_close(transport_plan(products(queries, gallery).T, epsilon=1.3, iterations=23).T, plan)
    normal = products(*longer) / 1.3
    torch.testing.assert_close(normal.softmax(1), plan / plan.sum(1, keepdim=True), rtol=1e-4, atol=1e-7)
    shares = transductive_sinkhorn(queries, gallery, tau=1.3, iterations=100)
    columns = (products(*shares) / 1.3).softmax(1).sum(0)
    torch.testing.assert_close(columns, torch.full_like(columns, QUERIES / ITEMS), rtol=1e-4, atol=0)


@pytest.mark.parametrize("tile_bytes", TILES)
def test_dual_softmax_is_the_definition(tile_bytes: int | None):
    queries, gallery, _, match = example(4)
    scores = products(queries, gallery)
    expected = ranks_from_scores(scores * (2 * scores).softmax(0), match)
    assert torch.equal(
        transductive_dual_softmax_ranks(queries, gallery, match, beta=2.0, tile_bytes=tile_bytes), expected
    )


def test_inverted_softmax_of_the_test_queries():
    queries, gallery, _, match = example(5)
    longer = transductive_inverted_softmax(queries, gallery, beta=2.0)
    expected = ranks_from_scores((2 * products(queries, gallery)).softmax(0), match)
    assert torch.equal(exact_ranks(*longer, match), expected)


def test_missing_queries_and_items_take_no_part():
    queries, gallery, bank, match = example(6)
    here, there = torch.arange(QUERIES) % 3 != 0, torch.arange(ITEMS) % 4 != 0
    place = (there.cumsum(0) - 1)[match]
    seen = here & there[match]
    few = (queries[here], gallery[there])
    inside = torch.where(there[match], place, 0)[here]
    some = there[match][here]
    queries[~here], gallery[~there] = math.nan, math.inf
    masks = {"query_present": here, "gallery_present": there}
    pairs = [
        (query_bank_normalised(queries, gallery, bank, beta=2.0, **masks), query_bank_normalised(*few, bank, beta=2.0)),
        (
            transductive_inverted_softmax(queries, gallery, beta=2.0, **masks),
            transductive_inverted_softmax(*few, beta=2.0),
        ),
        (transductive_sinkhorn(queries, gallery, tau=1.0, **masks), transductive_sinkhorn(*few, tau=1.0)),
    ]
    for whole, part in pairs:
        ranks = exact_ranks(*whole, match, **masks)
        assert torch.equal(ranks[here][some], exact_ranks(*part, inside)[some])
        assert (ranks[~seen] == -1).all()
    ranks = transductive_dual_softmax_ranks(queries, gallery, match, beta=2.0, **masks)
    assert torch.equal(ranks[here][some], transductive_dual_softmax_ranks(*few, inside, beta=2.0)[some])
    assert (ranks[~seen] == -1).all()


def test_a_collapsed_model_stays_at_the_last_rank():
    generator = torch.Generator().manual_seed(7)
    queries, bank = torch.randn(37, 613, generator=generator), torch.randn(29, 613, generator=generator)
    gallery, match = torch.randn(1, 613, generator=generator).expand(1031, -1).contiguous(), torch.arange(37)
    last = [1030] * 37
    for kind in ("static", "dynamic"):
        assert exact_ranks(*query_bank_normalised(queries, gallery, bank, beta=2.0, kind=kind), match).tolist() == last
    assert exact_ranks(*transductive_inverted_softmax(queries, gallery, beta=2.0), match).tolist() == last
    assert exact_ranks(*transductive_sinkhorn(queries, gallery, tau=1.0), match).tolist() == last
    assert transductive_dual_softmax_ranks(queries, gallery, match, beta=0.1).tolist() == last


def test_bad_settings_are_refused():
    queries, gallery, bank, _ = example(8)
    with pytest.raises(ValueError, match="0 queries and beta"):
        query_bank_normalised(queries, gallery, bank[:0], beta=1.0)
    with pytest.raises(ValueError, match=r"beta -1\.0"):
        bank_hubness(bank, gallery, -1.0)
    with pytest.raises(ValueError, match="tau above 0"):
        transductive_sinkhorn(queries, gallery, tau=0.0)
    bank[3, 1] = math.nan
    with pytest.raises(ValueError, match="1 of 31 queries contain NaN"):
        query_bank_normalised(queries, gallery, bank, beta=1.0)
