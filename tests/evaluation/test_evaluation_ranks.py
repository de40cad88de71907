"""Ranks against the definition: every pair of scores compared, with whole numbers so that ties are exact."""

import math

import pytest
import torch
from torch import Tensor

from awase.evaluation.dot_scores import DEPTH
from awase.evaluation.fused import fused
from awase.evaluation.ranks import exact_ranks, ranks_from_scores
from awase.evaluation.top import top_k

QUERIES, ITEMS, DIM = 61, 53, 7
TILES = (None, 2000, 1)


def whole_numbers(seed: int, *shape: int, reach: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-reach, reach + 1, shape, generator=generator).float()


def example(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    match = torch.randint(ITEMS, (QUERIES,), generator=torch.Generator().manual_seed(seed + 2))
    return whole_numbers(seed, QUERIES, DIM), whole_numbers(seed + 1, ITEMS, DIM), match


def slow_ranks(scores: Tensor, match: Tensor, here: Tensor, there: Tensor, groups: Tensor | None = None) -> list[int]:
    """The definition, one pair after the other."""
    groups = torch.arange(scores.shape[1]) if groups is None else groups
    ranks = []
    for i, own in enumerate(match.tolist()):
        items = [j for j in range(scores.shape[1]) if there[j]]
        right = [float(scores[i, j]) for j in items if groups[j] == groups[own]]
        wrong = [float(scores[i, j]) for j in items if groups[j] != groups[own]]
        ranks.append(sum(s >= max(right) for s in wrong) if here[i] and there[own] else -1)
    return ranks


def everyone(number: int) -> Tensor:
    return torch.ones(number, dtype=torch.bool)


def optimistic_hits(scores: Tensor, k: int) -> float:
    """Widely copied: every place of the sorted row that has the score of the match is a hit."""
    ordered = scores.sort(dim=1, descending=True).values
    places = (ordered - scores.diag()[:, None] == 0).nonzero()[:, 1]
    return int((places < k).sum()) / len(scores)


@pytest.mark.parametrize("tile_bytes", TILES)
def test_ranks_are_the_definition(tile_bytes: int | None):
    queries, gallery, match = example()
    expected = slow_ranks(queries @ gallery.T, match, everyone(QUERIES), everyone(ITEMS))
    assert exact_ranks(queries, gallery, match, tile_bytes=tile_bytes).tolist() == expected
    assert ranks_from_scores(queries @ gallery.T, match).tolist() == expected


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("tile_bytes", TILES)
def test_missing_clips_fail_and_are_no_candidates(tile_bytes: int | None, groups: bool):
    queries, gallery, match = example(3)
    here, there = torch.arange(QUERIES) % 5 != 0, torch.arange(ITEMS) % 3 != 0
    copies = torch.arange(ITEMS) % 11 if groups else None
    expected = slow_ranks(queries @ gallery.T, match, here, there, copies)
    queries[~here], gallery[~there] = math.nan, math.inf
    keywords = {"query_present": here, "gallery_present": there, "also_correct": copies}
    assert exact_ranks(queries, gallery, match, tile_bytes=tile_bytes, **keywords).tolist() == expected
    scores = queries @ gallery.T
    assert ranks_from_scores(scores, match, **keywords).tolist() == expected
    assert expected.count(-1) == int((~(here & there[match])).sum())


@pytest.mark.parametrize("tile_bytes", TILES)
def test_identical_captions_are_all_right(tile_bytes: int | None):
    queries, gallery, match = example(5)
    groups = torch.arange(ITEMS) % 13 * 7 - 20
    expected = slow_ranks(queries @ gallery.T, match, everyone(QUERIES), everyone(ITEMS), groups)
    assert exact_ranks(queries, gallery, match, also_correct=groups, tile_bytes=tile_bytes).tolist() == expected
    assert ranks_from_scores(queries @ gallery.T, match, also_correct=groups).tolist() == expected
    strict = exact_ranks(queries, gallery, match).tolist()
    assert all(a <= b for a, b in zip(expected, strict, strict=True))
    assert exact_ranks(queries, gallery, match, also_correct=torch.zeros(ITEMS).long()).tolist() == [0] * QUERIES


@pytest.mark.parametrize("dim", [5, 97, DEPTH + 101])
@pytest.mark.parametrize("items", [2, 131, 1031])
def test_a_collapsed_model_has_the_last_rank(dim: int, items: int):
    """One embedding for every item: a matrix product gives them scores that differ in the last digits."""
    generator = torch.Generator().manual_seed(dim)
    queries = torch.randn(37, dim, generator=generator)
    gallery = torch.randn(1, dim, generator=generator).expand(items, -1).contiguous()
    match = torch.arange(37) % items
    for tile_bytes in (None, 5000):
        for normalise in (False, True):
            ranks = exact_ranks(queries, gallery, match, normalise=normalise, tile_bytes=tile_bytes)
            assert ranks.tolist() == [items - 1] * 37
    assert exact_ranks(gallery[:2], queries, torch.tensor([3, 3])).unique().numel() == 1


def test_collapse_and_ties_score_nothing_where_the_copied_code_says_1000_percent():
    constant = torch.full((31, 31), 0.25)
    assert optimistic_hits(constant, 10) == 10.0
    assert ranks_from_scores(constant, torch.arange(31)).tolist() == [30] * 31


def test_ranks_do_not_depend_on_rounding():
    """Copies of the right item, at other places of the product, and a neighbour one unit of float32 lower."""
    generator = torch.Generator().manual_seed(1)
    gallery, queries = torch.randn(1013, 173, generator=generator), torch.randn(19, 173, generator=generator)
    gallery[[5, 500, 1012]] = gallery[0].clone()
    lower = gallery[0].clone()
    lower[0] = torch.nextafter(lower[0], torch.tensor(math.inf))
    gallery[7] = lower
    queries[:, 0] = -queries[:, 0].abs()
    match = torch.zeros(19, dtype=torch.int64)
    exact = queries.double() @ gallery.double().T
    expected = [int((row > row[0] + 1e-12).sum()) + 3 for row in exact]
    for tile_bytes in TILES:
        assert exact_ranks(queries, gallery, match, tile_bytes=tile_bytes).tolist() == expected
    assert exact_ranks(queries.double(), gallery.double(), match).tolist() == expected


def test_random_vectors_have_the_ranks_of_float64():
    generator = torch.Generator().manual_seed(2)
    queries, gallery = torch.randn(211, 2 * DEPTH + 3, generator=generator), torch.randn(307, 2 * DEPTH + 3)
    match = torch.arange(211)
    scores = queries.double() @ gallery.double().T
    assert torch.equal(exact_ranks(queries, gallery, match), ranks_from_scores(scores, match))
    cosines = scores / gallery.double().norm(dim=1)
    assert torch.equal(exact_ranks(queries, gallery, match, normalise=True), ranks_from_scores(cosines, match))
    half = [part.bfloat16() for part in (queries, gallery)]
    rounded = half[0].double() @ half[1].double().T
    assert torch.equal(exact_ranks(half[0], half[1], match), ranks_from_scores(rounded, match))


@pytest.mark.parametrize("factor", [1e-25, 1e15])
def test_very_small_and_very_large_embeddings(factor: float):
    queries, gallery, match = example(7)
    expected = exact_ranks(queries, gallery, match)
    assert torch.equal(exact_ranks(queries * factor, gallery * factor, match), expected)


def test_embeddings_of_zeros_are_all_ties():
    zeros, match = torch.zeros(3, 5), torch.tensor([0, 6, 2])
    for normalise in (False, True):
        assert exact_ranks(zeros, whole_numbers(1, 7, 5), match, normalise=normalise).tolist() == [6, 6, 6]
        assert exact_ranks(whole_numbers(1, 3, 5), torch.zeros(7, 5), match, normalise=normalise).tolist() == [6, 6, 6]


def test_one_query_one_item_and_nobody():
    one = torch.ones(1, 3)
    assert exact_ranks(one, one, torch.tensor([0])).tolist() == [0]
    assert exact_ranks(one[:0], one, torch.tensor([], dtype=torch.int64)).tolist() == []
    nobody = torch.tensor([False])
    assert exact_ranks(one, one, torch.tensor([0]), gallery_present=nobody).tolist() == [-1]
    assert ranks_from_scores(one @ one.T, torch.tensor([0]), query_present=nobody).tolist() == [-1]


def test_nan_and_infinity_are_refused():
    queries, gallery, match = example(9)
    queries[[3, 17], 2] = math.nan
    with pytest.raises(ValueError, match="2 of 61 queries contain NaN or infinity"):
        exact_ranks(queries, gallery, match)
    with pytest.raises(ValueError, match="106 scores are NaN or infinite"):
        ranks_from_scores(queries @ gallery.T, match)
    gallery[11, 1] = -math.inf
    with pytest.raises(ValueError, match="1 of 53 gallery items contain"):
        exact_ranks(queries, gallery, match, query_present=queries.isfinite().all(1))
    with pytest.raises(ValueError, match="beyond float32"):
        exact_ranks(torch.full((2, 3), 1e20), torch.full((2, 3), 1e19), torch.tensor([0, 1]))


def test_a_sum_that_overflows_is_not_nan():
    scores = torch.full((2, 5), 3e38)
    assert ranks_from_scores(scores, torch.tensor([0, 1])).tolist() == [4, 4]


def test_a_match_outside_the_gallery_is_refused():
    queries, gallery, match = example()
    for wrong in (-1, ITEMS):
        match[4] = wrong
        with pytest.raises(ValueError, match="between 0 and 52"):
            exact_ranks(queries, gallery, match)
        with pytest.raises(ValueError, match="between 0 and 52"):
            ranks_from_scores(queries @ gallery.T, match)


def test_the_settings_of_the_process_stay():
    queries, gallery, match = example()
    torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ranks = exact_ranks(queries + 1 / 3, gallery + 1 / 7, match)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(ranks, exact_ranks(queries + 1 / 3, gallery + 1 / 7, match))


def test_the_fused_score_is_the_dot_product_with_the_sum():
    text, video, audio = (whole_numbers(seed, 41, DIM) for seed in (1, 2, 3))
    silent = torch.arange(41) % 7 == 3
    gallery, there = fused({"video": video, "audio": audio.masked_fill(silent[:, None], math.nan)}, {"audio": ~silent})
    assert torch.equal(there, ~silent)
    ranks = exact_ranks(text, gallery, torch.arange(41), gallery_present=there)
    scores = torch.tensor([[float(t @ v + t @ a) for v, a in zip(video, audio, strict=True)] for t in text])
    assert ranks.tolist() == slow_ranks(scores, torch.arange(41), everyone(41), ~silent)
    assert (ranks == -1).sum() == silent.sum()


def test_the_mean_of_unit_vectors_takes_what_an_item_has():
    video, audio = (
        torch.tensor([[3.0, 4.0], [6.0, 8.0], [1.0, 1.0]]),
        torch.tensor([[0.0, 1.0], [5.0, 5.0], [2.0, 0.0]]),
    )
    present = {"video": torch.tensor([True, True, False]), "audio": torch.tensor([True, False, False])}
    values, there = fused({"video": video, "audio": audio}, present, mode="normalised_mean")
    torch.testing.assert_close(values, torch.tensor([[0.3, 0.9], [0.6, 0.8], [0.0, 0.0]]))
    assert there.tolist() == [True, True, False]


def test_fusing_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="embeddings of every modality"):
        fused({})
    with pytest.raises(ValueError, match="'depth'"):
        fused({"video": torch.ones(2, 3)}, {"depth": torch.tensor([True, True])})


@pytest.mark.parametrize("tile_bytes", TILES)
@pytest.mark.parametrize("normalise", [False, True])
def test_the_best_items_are_those_of_the_whole_matrix(tile_bytes: int | None, normalise: bool):
    generator = torch.Generator().manual_seed(4)
    queries, gallery = torch.randn(QUERIES, DIM, generator=generator), torch.randn(ITEMS, DIM, generator=generator)
    here, there = torch.arange(QUERIES) % 5 != 0, torch.arange(ITEMS) % 3 != 0
    keywords = {"query_present": here, "gallery_present": there, "normalise": normalise, "tile_bytes": tile_bytes}
    places, values = top_k(queries, gallery, 17, **keywords)
    scores = queries @ gallery.T
    if normalise:
        scores = scores / queries.norm(dim=1)[:, None] / gallery.norm(dim=1)
    best = scores.masked_fill(~there, -math.inf).topk(17, dim=1)
    assert torch.equal(places[here], best.indices[here])
    torch.testing.assert_close(values[here], best.values[here])
    assert places[~here].unique().tolist() == [-1]
    with pytest.raises(ValueError, match="of a gallery of 35"):
        top_k(queries, gallery, 36, **keywords)
