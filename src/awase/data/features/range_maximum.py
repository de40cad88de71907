"""The maximum over any range of rows from at most twelve stored rows, however long the range.

Beside the `length` rows of a video lie, in the same file,

- the maxima of 8 rows, one beginning at every even row (half as many rows again), and
- a sparse table over blocks of 32 rows: of 1, 2, 4, ... blocks from every block on (for videos of five to ten minutes
  a tenth as many rows again).

A range of 10 rows or more is its first and last row and windows of 8 between; one of 34 or more is its ends, four
windows at either end and two entries of the table. Shorter ones are read row by row. Maxima do not round, so the result
is the maximum of the rows themselves.
"""

import numpy as np
from jaxtyping import Float16, Int64

WINDOW, BLOCK = 8, 32
_STEPS = BLOCK // WINDOW
_SHORT, _LONG = WINDOW + 2, BLOCK + 2


def num_windows(length: int) -> int:
    """Windows of 8 rows that begin at an even row."""
    return 0 if length < WINDOW else (length - WINDOW) // 2 + 1


def table_levels(length: int) -> list[int]:
    """Entries of each level of the sparse table; level j spans 2^j blocks."""
    blocks = length // BLOCK
    return [blocks - (1 << level) + 1 for level in range(blocks.bit_length())]


def num_stored(length: int) -> int:
    """Rows that a video of `length` rows takes in the file."""
    return length + num_windows(length) + sum(table_levels(length))


def with_maxima(values: Float16[np.ndarray, "rows dim"]) -> Float16[np.ndarray, "stored dim"]:
    """The rows, followed by their windows and their table."""
    length = len(values)
    parts = [values]
    if length >= WINDOW:
        windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW, axis=0)[::2]
        parts.append(windows.max(axis=-1))
    level = values[: length // BLOCK * BLOCK].reshape(-1, BLOCK, values.shape[1]).max(axis=1)
    for number in range(len(table_levels(length))):
        parts.append(level)
        half = 1 << number
        level = np.maximum(level[: max(0, len(level) - half)], level[half:])
    return np.concatenate(parts)


def range_maxima(
    stored: np.ndarray,
    length: int,
    starts: Int64[np.ndarray, " ranges"],
    stops: Int64[np.ndarray, " ranges"],
    signed: bool = True,
) -> Float16[np.ndarray, "ranges dim"]:
    """The maximum of rows [start, stop) for each range; `0 <= start < stop <= length`.

    `stored` are the rows of one video as `with_maxima` gives them. Halves are compared as integers, which is much the
    faster; `signed=False` says that no sign bit is set among them, which saves their translation.
    """
    bits = stored.view(np.int16)
    out = np.empty((len(starts), stored.shape[1]), dtype=np.int16)
    sizes = stops - starts
    for member, rows_of in (
        (sizes < _SHORT, _short),
        ((sizes >= _SHORT) & (sizes < _LONG), _middle),
        (sizes >= _LONG, _long),
    ):
        chosen = np.flatnonzero(member)
        if len(chosen):
            rows = rows_of(length, starts[chosen], stops[chosen])  # (chosen, rows read)
            taken = bits.take(rows.ravel(), axis=0).reshape(*rows.shape, -1)
            out[chosen] = _ordered(_ordered(taken).max(axis=1)) if signed else taken.max(axis=1)
    return out.view(np.float16)


def _ordered(bits: np.ndarray) -> np.ndarray:
    """Bits of halves to integers of the same order, and back: the magnitude of negative ones is turned round."""
    flipped: np.ndarray = bits ^ ((bits >> 15) & np.int16(0x7FFF))
    return flipped


def _short(length: int, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Every row; shorter ranges name their last row again."""
    steps = np.arange((stops - starts).max())
    rows: np.ndarray = np.minimum(starts[:, None] + steps, stops[:, None] - 1)
    return rows


def _middle(length: int, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The first and the last row, and windows from the first even row on, the last pushed back to end in time."""
    first, end = starts + starts % 2, stops - stops % 2
    steps = np.arange(-(-(end - first).max() // WINDOW)) * WINDOW
    windows = np.minimum(first[:, None] + steps, end[:, None] - WINDOW)
    rows: np.ndarray = np.column_stack([starts, stops - 1, length + windows // 2])
    return rows


def _long(length: int, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """As in the middle for 32 rows at either end; two entries of the table for the whole blocks between."""
    first, end = starts + starts % 2, stops - stops % 2
    steps = np.arange(_STEPS) * WINDOW
    windows = np.column_stack([first[:, None] + steps, end[:, None] - WINDOW - steps])
    low, high = -(-starts // BLOCK), stops // BLOCK
    level = np.frexp(np.maximum(high - low, 1))[1] - 1  # floor(log2)
    base = length + num_windows(length) + np.cumsum([0, *table_levels(length)])
    entry = base[level] + low
    second = base[level] + high - (1 << level)
    # Without a whole block between, the windows of both ends meet.
    inside = high > low
    entry, second = np.where(inside, entry, starts), np.where(inside, second, starts)
    return np.column_stack([starts, stops - 1, length + windows // 2, entry, second])
