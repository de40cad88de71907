"""Numbers as a reader wants them: fractions in percent, sizes and times in a fitting unit."""

import math

from awase.report.groups import Stat, is_fraction, is_rank
from awase.statistics import Difference, Interval

NONE = "–"


def header(metric: str) -> str:
    """The metric's name with its unit."""
    return f"{metric.replace('_', ' ')}, %" if is_fraction(metric) else metric


def value(number: float | None, metric: str) -> str:
    """One number of the metric, without unit; a dash for none."""
    if number is None:
        return NONE
    if math.isinf(number):
        return "∞"
    if is_rank(metric):
        return f"{number:.1f}"
    return f"{100 * number:.1f}" if is_fraction(metric) else f"{number:.3f}"


def stat(found: Stat | None, metric: str) -> str:
    """`71.2 ± 0.8`, or the mean alone with one seed."""
    if found is None:
        return NONE
    spread = "" if found.std is None else f" ± {value(found.std, metric)}"
    return value(found.mean, metric) + spread


def interval(found: Interval | None, metric: str) -> str:
    """`[69.8, 72.9]`."""
    return NONE if found is None else f"[{value(found.low, metric)}, {value(found.high, metric)}]"


def signed(number: float, metric: str) -> str:
    """A difference with its sign, the minus as a minus."""
    text = value(abs(number), metric)
    return ("−" if number < 0 else "+") + text


def difference(found: Difference | None, metric: str) -> str:
    """`+1.2 [−0.3, +2.7]`."""
    if found is None:
        return NONE
    return f"{signed(found.difference, metric)} [{signed(found.low, metric)}, {signed(found.high, metric)}]"


def plural(number: int, word: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def count(number: float) -> str:
    """`950`, `35.7 k`, `11.2 M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def seconds(number: float) -> str:
    """`0.4 s`, `48 s`, `12 min`, `3.4 h`."""
    if number < 10:
        return f"{number:.1f} s"
    if number < 120:
        return f"{number:.0f} s"
    return f"{number / 60:.0f} min" if number < 7200 else f"{number / 3600:.1f} h"


def memory(mib: float) -> str:
    """`412 MiB` or `2.1 GiB`."""
    return f"{mib:.0f} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"
