"""The first part of a page about one table: what came out. Each function returns HTML, empty without content."""

from collections.abc import Sequence

import numpy as np

from awase.report import numbers
from awase.report.figures import comparison_figure
from awase.report.groups import Group
from awase.report.html import Html, bullets, figure, join, table, tag
from awase.report.lines import Line, Lines
from awase.report.text import cells
from awase.statistics import Difference


def protocol(found: Lines) -> Html:
    """How the numbers came about, in one paragraph."""
    metric, per = found.table.metric, spread_over(found.table.groups)
    return tag(
        "p",
        f"Every number is the mean over {per}; ± is the standard deviation over seeds. Epochs and settings were chosen "
        f"on validation by {metric.replace('_', ' ')}, never on test; every kept model was scored on test in one pass "
        "after the last stage. Intervals (95 %) come from a bootstrap over seeds and items together, items of one "
        "group drawn as one; differences are paired by seed and item. They are not corrected for the number of "
        "methods, and an interval that contains zero does not show that two methods are equal.",
        css="protocol",
    )


def spread_over(groups: Sequence[Group]) -> str:
    """`3 seeds`, `3 seeds and 5 folds, folds averaged within a seed`: what a number is a mean of."""
    per = _range({len(group.seeds) for group in groups}, "seed")
    if any(group.folds != (None,) for group in groups):
        per += f" and {_range({len(group.folds) for group in groups}, 'fold')}, folds averaged within a seed"
    return per


def findings(found: Lines) -> Html:
    """What may be said at a glance: the method that validation ranks first, and who can be told from the reference."""
    best, metric = found.best, found.table.metric
    if best is None or best.test is None:
        return Html("")
    name, shown = tag("strong", best.group.method), numbers.stat(best.test, metric)
    sentences: list[object] = [
        join([name, f" ranks first on validation and reaches {shown} on test ({numbers.header(metric)})."])
    ]
    if best.difference is not None:
        sentences.append(_verdict(best.difference, best.group.method, found.reference, metric))
    others = [line for line in found.lines if line.difference is not None and line is not best]
    for word, chosen in (
        (f"Higher than {found.reference}", [line for line in others if _side(line) > 0]),
        (f"Lower than {found.reference}", [line for line in others if _side(line) < 0]),
        (f"Not distinguishable from {found.reference}", [line for line in others if _side(line) == 0]),
    ):
        if chosen:
            sentences.append(f"{word}: {', '.join(line.group.method for line in chosen)}.")
    return bullets(sentences, css="findings")


def _side(line: Line) -> int:
    """1 or -1 where the interval of the difference lies on one side of zero, else 0."""
    assert line.difference is not None, "only lines with a difference have a side"
    return int(np.sign(line.difference.difference)) if line.difference.distinguishable else 0


def _verdict(found: Difference, method: str, reference: str, metric: str) -> Html:
    word = "Higher" if found.difference > 0 else "Lower"
    said = f"{word} than {reference}" if found.distinguishable else f"Not distinguishable from {reference}"
    limit = "every draw gives the same, so how small a difference could be seen is not known"
    if found.has_limit:
        unseen = numbers.value(found.smallest_detectable, metric)
        limit = f"differences under {unseen} cannot be seen with these seeds and items"
    return join([tag("strong", method), f": {said}, {numbers.difference(found, metric)}; {limit}."])


def main_table(found: Lines) -> Html:
    """Every method with its result, interval, difference and cost, and what the columns mean."""
    metric, reference = found.table.metric, found.reference
    titles = [
        "method",
        f"test {numbers.header(metric)}",
        f"difference to {reference}",
        "discordant",
        "published",
        "seeds × folds",
        "trainable parameters",
        "time",
        "peak memory",
        "settings tried",
    ]
    marked = [place for place, line in enumerate(found.lines) if line.group.method == reference]
    rows = [_row(line, reference) for line in found.lines]
    caption = f"{found.table.experiment}, {found.table.dataset}: results"
    legend = (
        "In brackets: 95 % intervals. Discordant: pairs of seed and item that only this method, and that only "
        f"{reference}, gets right. Time: training of all stages of a run, also of those it re-used."
    )
    return join([table(titles, rows, caption=caption, marked=marked), tag("p", legend, css="quiet legend")])


def _row(line: Line, reference: str) -> list[object]:
    method, test, interval, difference, published, seeds, folds, *costs = cells(line)
    discordant: object = numbers.NONE
    compared: object = difference
    if line.group.method == reference:
        compared = join([numbers.NONE, tag("small", "reference")])
    elif line.difference is not None:
        found, metric = line.difference, line.group.metric
        limit = numbers.value(found.smallest_detectable if found.has_limit else None, metric)
        unseen = f"cannot see under {limit}"
        compared = join([tag("span", difference, css="sure" if found.distinguishable else ""), tag("small", unseen)])
        discordant = f"{found.a_only} : {found.b_only}"
    shown = join([test, tag("small", interval)])
    return [method, shown, compared, discordant, published, f"{seeds} × {folds}", *costs]


def comparison(found: Lines) -> Html:
    """The figure of all methods."""
    caption = (
        "Points: mean over seeds; bars: 95 % interval over seeds and items; small dots: single seeds; dashed line: "
        f"{found.reference}."
    )
    if any(line.group.published is not None for line in found.lines):
        caption += " Diamonds: published values."
    return figure(comparison_figure(found), caption)


def _range(counts: set[int], word: str) -> str:
    return numbers.plural(min(counts), word) if len(counts) == 1 else f"{min(counts)} to {max(counts)} {word}s"
