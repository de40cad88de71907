"""Whether adapters per pair are worth it, in words: never more than the intervals allow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from awase.report import numbers
from awase.statistics import Difference

GAIN, OVER_WIDE, REACHED = "alone - joint", "alone - joint-wide", "pair_adapters - joint"
LONGER = "pair_adapters - joint-longer"
METRIC = "R@1"
"""How differences are written: those of every R@k in the same way."""


@dataclass(frozen=True)
class Verdict:
    """Of one pair; `unseen` is the gain (a share) below which nothing is said, None where that is not known."""

    pair: str
    kind: Literal["worth it", "not worth it as far as can be seen", "cannot be said"]
    unseen: float | None
    sentence: str


def verdict(pair: str, differences: Mapping[str, Difference], k: int = 1) -> Verdict:
    """Returns what the differences of R@k (shares) allow: `alone - joint`, and the controls of COMPARED.

    worth it: the interval of `alone - joint` lies above zero. Else not as far as can be seen, where a gain of less than
    max(upper end of the interval, smallest detectable difference) may have been missed. Where every draw gives the same
    nothing is said. That there is no difference is never concluded.
    """
    gain = differences[GAIN]
    if gain.low > 0:
        rank = "at rank 1" if k == 1 else f"up to rank {k}"
        words = f"worth it: alone it finds {_points(gain)} more {rank} than the shared space"
        return Verdict(pair, "worth it", None, f"{words}{_but(differences)}{_reached(differences)}.")
    if not gain.has_limit:
        words = "cannot be said: every draw of the queries gives the same, so how small a gain could be seen is unknown"
        return Verdict(pair, "cannot be said", None, f"{words}.")
    unseen = max(gain.high, gain.smallest_detectable)
    words = f"not worth it on this data as far as can be seen: a gain, if any, is smaller than {_up(unseen)} points"
    words += f" (alone minus shared: {_points(gain)}"
    words += "; the shared space is the better one)" if gain.high < 0 else ")"
    return Verdict(pair, "not worth it as far as can be seen", unseen, f"{words}{_yet(differences)}.")


def overall(verdicts: Sequence[Verdict]) -> str:
    """Returns one sentence about all pairs."""
    worth = [one.pair for one in verdicts if one.kind == "worth it"]
    unseen = {one.pair: one.unseen for one in verdicts if one.unseen is not None}
    unknown = [one.pair for one in verdicts if one.kind == "cannot be said"]
    parts = []
    if worth:
        parts.append(f"adapters have something to gain for {', '.join(worth)}")
    if unseen:
        most = _up(max(unseen.values()))
        parts.append(f"for {', '.join(unseen)} nothing to gain is seen, and gains under {most} points may be missed")
    if unknown:
        parts.append(f"for {', '.join(unknown)} it cannot be said")
    return f"On this data {'; '.join(parts)}."


def _but(differences: Mapping[str, Difference]) -> str:
    """What a wider space of as many stored numbers says about the gain."""
    wide = differences[OVER_WIDE]
    if wide.low > 0:
        return f"; over a shared space that stores as many numbers it is {_points(wide)}"
    return f"; over a shared space that stores as many numbers it is not seen ({_points(wide)}): it may be one of width"


def _reached(differences: Mapping[str, Difference]) -> str:
    found = differences[REACHED]
    if found.low > 0:
        return f"; adapters reach {_points(found)}"
    return f"; that these adapters reach any of it is not seen ({_points(found)})"


def _yet(differences: Mapping[str, Difference]) -> str:
    """What adapters gain where a model of the pair's own does not."""
    found = differences[REACHED]
    if found.low <= 0:
        return ""
    longer = differences[LONGER]
    more = "also over" if longer.low > 0 else "but not, as far as can be seen, over"
    return f"; adapters over it gain {_points(found)}, {more} a shared space trained as long ({_points(longer)})"


def _points(found: Difference) -> str:
    return numbers.difference(found, METRIC) + " points"


def _up(share: float) -> str:
    """In points, rounded up: a limit that is not smaller than it is."""
    return f"{math.ceil(round(1000 * share, 6)) / 10:.1f}"
