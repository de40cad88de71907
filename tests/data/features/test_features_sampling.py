"""Clips against the description of how they are drawn and grown, one by one."""

import numpy as np
import pytest

from awase.data.features.sampling import audio_frame, draw_captions, gather_words, grow


def slow(start: list[int], end: list[int], low: int, high: int, centre: int, least: int) -> tuple[int, int, list[int]]:
    """The rule in words: the neighbour with the shorter total, at a tie the previous."""
    first = last = centre
    added = [centre]
    while end[last] - start[first] < least:
        previous = end[last] - start[first - 1] if first > low else None
        following = end[last + 1] - start[first] if last < high - 1 else None
        if previous is None and following is None:
            break
        if following is None or (previous is not None and previous <= following):
            first -= 1
            added.append(first)
        else:
            last += 1
            added.append(last)
    return start[first], end[last], added


def captions(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole multiples of half a second, so that ties are frequent; some overlap."""
    generator = np.random.default_rng(seed)
    start = np.cumsum(generator.integers(1, 9, count)) * 500
    return start.astype(np.int32), (start + generator.integers(1, 11, count) * 500).astype(np.int32)


@pytest.mark.parametrize("least", [0, 1000, 10_000, 10_000_000])
def test_growth_is_the_rule(least: int):
    start, end = captions(3, 41)
    lows, highs = np.repeat([0, 11, 12], 41), np.repeat([11, 12, 41], 41)
    generator = np.random.default_rng(0)
    centres = np.concatenate([generator.integers(low, high, 41) for low, high in [(0, 11), (11, 12), (12, 41)]])
    grown = grow(start, end, (lows, highs), centres, least)
    for clip, centre in enumerate(centres.tolist()):
        begin, stop, added = slow(start.tolist(), end.tolist(), int(lows[clip]), int(highs[clip]), centre, least)
        assert (grown.start_ms[clip], grown.end_ms[clip]) == (begin, stop)
        assert [row for row in grown.added[clip].tolist() if row >= 0] == added


def test_a_tie_goes_to_the_previous():
    start, end = np.array([0, 2000, 4000], dtype=np.int32), np.array([2000, 4000, 6000], dtype=np.int32)
    grown = grow(start, end, (np.array([0]), np.array([3])), np.array([1]), 3000)
    assert (grown.start_ms.tolist(), grown.end_ms.tolist(), grown.added.tolist()) == ([0], [4000], [[1, 0]])


def test_draws_are_uniform_with_replacement():
    drawn = draw_captions(np.random.default_rng(0), 5, 8, 3001)
    counts = np.bincount(drawn, minlength=8)
    assert counts[:5].sum() == 0
    assert (counts[5:] > 900).all()


def test_audio_frames():
    """floor((floor(16000 t) - 200) / 160), and not -2 at the beginning, nor -1 just after."""
    times = np.array([0, 1, 12, 13, 22, 23, 1000, 12_345])
    expected = [max(0, (16_000 * time // 1000 - 200) // 160) for time in times.tolist()]
    assert audio_frame(times).tolist() == expected
    assert audio_frame(np.array([0, 13, 1000])).tolist() == [0, 0, 98]


def test_words_are_the_first_in_the_order_of_adding():
    ids, offsets = np.arange(100, 111, dtype=np.int32), np.array([0, 3, 3, 7, 11])
    added = np.array([[2, 0, 3], [1, -1, -1], [1, 0, -1], [3, 2, 0]])
    words, mask = gather_words(ids, offsets, added, 7, pad=-9)
    for row, captions_of in enumerate(added.tolist()):
        joined = [word for row_ in captions_of if row_ >= 0 for word in ids[offsets[row_] : offsets[row_ + 1]].tolist()]
        assert words[row].tolist() == joined[:7] + [-9] * (7 - len(joined[:7]))
        assert mask[row].tolist() == [1] * len(joined[:7]) + [0] * (7 - len(joined[:7]))
