"""The maximum over any range, against the maximum of its rows."""

import numpy as np
import pytest

from awase.data.features.range_maximum import num_stored, range_maxima, table_levels, with_maxima

DIM = 5


def rows(length: int, low: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(length)
    return generator.uniform(low, 3.0, (length, DIM)).astype(np.float16)


def straight(values: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    return np.stack([values[start:stop].max(axis=0) for start, stop in zip(starts, stops, strict=True)])


@pytest.mark.parametrize("length", [1, 7, 8, 9, 31, 33, 64, 97])
def test_every_range_of_a_video(length: int):
    values = rows(length, low=-2.0)
    pairs = np.array([(i, j) for i in range(length) for j in range(i + 1, length + 1)])
    starts, stops = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
    found = range_maxima(with_maxima(values), length, starts, stops)
    assert np.array_equal(found, straight(values, starts, stops))


def test_long_videos_at_random():
    length = 1013
    values = rows(length)
    generator = np.random.default_rng(0)
    ends = np.sort(generator.integers(0, length + 1, (997, 2)), axis=1)
    ends = ends[ends[:, 0] < ends[:, 1]].astype(np.int64)
    found = range_maxima(with_maxima(values), length, ends[:, 0], ends[:, 1], signed=False)
    assert np.array_equal(found, straight(values, ends[:, 0], ends[:, 1]))


def test_signs_zeros_and_the_largest():
    values = np.array([[-0.0, -1.0, 65504.0, -65504.0], [0.0, -2.0, 1.0, -6e-8]], dtype=np.float16)
    found = range_maxima(with_maxima(values), 2, np.array([0]), np.array([2]))
    assert found.tolist() == [[0.0, -1.0, 65504.0, float(np.float16(-6e-8))]]


def test_no_range():
    none = np.zeros(0, dtype=np.int64)
    assert range_maxima(with_maxima(rows(11)), 11, none, none).shape == (0, DIM)


def test_room_that_is_taken():
    assert table_levels(97) == [3, 2]
    assert len(with_maxima(rows(97))) == num_stored(97) == 97 + 45 + 5
    # What the module states for six minutes at one row per second: a half, and a tenth.
    assert 1.5 < num_stored(360) / 360 < 1.6
