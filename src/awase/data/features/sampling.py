"""Clips around captions: drawn, grown to a least length, with the words and frames that belong to them.

All clips of a batch are grown together. Times are whole milliseconds, so that ties and the least length are exact and
frame numbers do not depend on how a fraction rounds.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

AUDIO_RATE_HZ, AUDIO_WINDOW, AUDIO_HOP = 16_000, 400, 160


@dataclass(frozen=True, eq=False)
class Grown:
    """Clips [start, end] in milliseconds, and the captions of each in the order in which they were added (-1: none)."""

    start_ms: Int64[np.ndarray, " clips"]
    end_ms: Int64[np.ndarray, " clips"]
    added: Int64[np.ndarray, "clips steps"]


def draw_captions(generator: np.random.Generator, low: int, high: int, count: int) -> Int64[np.ndarray, " count"]:
    """`count` of the captions [low, high), uniformly, with replacement."""
    return generator.integers(low, high, size=count)


def grow(
    start_ms: np.ndarray,
    end_ms: np.ndarray,
    bounds: tuple[Int64[np.ndarray, " clips"], Int64[np.ndarray, " clips"]],
    centre: Int64[np.ndarray, " clips"],
    min_time_ms: int,
) -> Grown:
    """Clips grown from their `centre` caption until they last `min_time_ms`, or their video has no more captions.

    `start_ms` and `end_ms` are of all captions; those of a clip's video are [bounds[0], bounds[1]). While the clip is
    too short, the neighbour that gives the shorter total is added, at a tie the previous one. The clip is from the
    start of its first caption to the end of its last.
    """
    lowest, highest = bounds
    first, last = centre.copy(), centre.copy()
    added = [centre]
    while True:
        begin, end = start_ms[first].astype(np.int64), end_ms[last].astype(np.int64)
        before, after = first > lowest, last < highest - 1
        active = (end - begin < min_time_ms) & (before | after)
        if not active.any():
            return Grown(begin, np.maximum(begin, end), np.stack(added, axis=1))
        with_previous = end - start_ms[np.where(before, first - 1, first)]
        with_next = end_ms[np.where(after, last + 1, last)] - begin
        previous = active & before & (~after | (with_previous <= with_next))
        following = active & ~previous
        first, last = first - previous, last + following
        added.append(np.where(previous, first, np.where(following, last, -1)))


def nearest_captions(
    start_ms: np.ndarray,
    end_ms: np.ndarray,
    centre: Int64[np.ndarray, " clips"],
    twice_middle_ms: Int64[np.ndarray, " clips"],
    count: int,
) -> Int64[np.ndarray, "clips {count}"]:
    """Per clip its `centre` caption and the `count` - 1 others whose middles are nearest to the clip's, nearest first.

    `start_ms` and `end_ms` are of the captions of one video, which are numbered from 0; -1 fills up where it has fewer.
    At a tie the earlier one is nearer. Twice a middle is start + end, a whole number.
    """
    twice = start_ms.astype(np.int64) + end_ms.astype(np.int64)
    distance = np.abs(twice - twice_middle_ms[:, None])  # (clips, captions)
    np.put_along_axis(distance, centre[:, None], -1, axis=1)
    order = np.argsort(distance, axis=1, kind="stable")[:, :count]
    return np.pad(order, ((0, 0), (0, count - order.shape[1])), constant_values=-1)


def audio_frame(time_ms: Int64[np.ndarray, " clips"]) -> Int64[np.ndarray, " clips"]:
    """The frame of a time: floor((floor(16000 t) - 200) / 160), but not less than 0.

    The original gives -2 for t = 0, so that a clip at the beginning of its video reads an empty window.
    """
    samples = time_ms * (AUDIO_RATE_HZ // 1000)
    frames: np.ndarray = np.maximum(0, (samples - AUDIO_WINDOW // 2) // AUDIO_HOP)
    return frames


def gather_words(
    ids: np.ndarray, offsets: np.ndarray, added: Int64[np.ndarray, "clips steps"], max_words: int, pad: int
) -> tuple[Int64[np.ndarray, "clips words"], Int64[np.ndarray, "clips words"]]:
    """The first `max_words` ids of the captions of each clip, in the order of `added`, and which are real (0 or 1).

    The ids of caption i are `ids[offsets[i] : offsets[i + 1]]`.
    """
    safe = np.maximum(added, 0)
    begins = offsets[safe].astype(np.int64)
    counts = np.where(added < 0, 0, offsets[safe + 1] - begins)
    ends = np.minimum(np.cumsum(counts, axis=1), max_words)
    taken = np.diff(ends, axis=1, prepend=0).ravel()  # of each caption, clip after clip
    total = ends[:, -1] if added.shape[1] else np.zeros(len(added), dtype=np.int64)
    place = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    words = ids[np.repeat(begins.ravel(), taken) + place]
    mask = np.arange(max_words) < total[:, None]
    out = np.full((len(added), max_words), pad, dtype=np.int64)
    out[mask] = words
    return out, mask.astype(np.int64)
