"""The first part of a page about one table: what came out. Each function returns HTML, empty without content."""

from awase.report import numbers
from awase.report.figures import comparison_figure
from awase.report.html import Html, bullets, figure, join, table, tag
from awase.report.lines import Line, Lines
from awase.report.text import cells, headers


def protocol(found: Lines) -> Html:
    """How the numbers came about, in one paragraph."""
    groups, metric = found.table.groups, found.table.metric
    seeds = {len(group.seeds) for group in groups}
    folds = {len(group.folds) for group in groups if group.folds != (None,)}
    per = f"{_range(seeds)} seed(s)" + (f" and {_range(folds)} folds, averaged within a seed" if folds else "")
    return tag(
        "p",
        f"Every number is the mean over {per}; ± is the standard deviation over seeds. Epochs and settings were chosen "
        f"on validation by {metric.replace('_', ' ')}, never on test; every kept model was scored on test in one pass "
        "after the last stage. Intervals (95 %) come from a bootstrap over seeds and items together, items of one "
        "group drawn as one; differences are paired by seed and item. They are not corrected for the number of "
        "methods, and an interval that contains zero does not show that two methods are equal.",
        css="protocol",
    )


def findings(found: Lines) -> Html:
    """What may be said at a glance."""
    best, metric = found.best, found.table.metric
    if best is None or best.test is None:
        return Html("")
    first = [
        tag("strong", best.group.method),
        f" ranks first on validation and reaches {numbers.stat(best.test, metric)}",
    ]
    sentences: list[object] = [join([*first, f" on test ({numbers.header(metric)})."])]
    sentences += [_verdict(line, found.reference, metric) for line in found.lines if line.difference is not None]
    return bullets(sentences, css="findings")


def _verdict(line: Line, reference: str, metric: str) -> Html:
    assert line.difference is not None, "only lines with a difference have a verdict"
    unseen = numbers.value(line.difference.smallest_detectable, metric)
    limit = f"differences under {unseen} cannot be seen with these seeds and items"
    word = "higher" if line.difference.difference > 0 else "lower"
    said = f"{word} than {reference}" if line.difference.distinguishable else f"not distinguishable from {reference}"
    shown = numbers.difference(line.difference, metric)
    return join([tag("strong", line.group.method), f": {said}, {shown}; {limit}."])


def main_table(found: Lines) -> Html:
    """Every method with its result, interval, difference, cost."""
    marked = [place for place, line in enumerate(found.lines) if line.group.method == found.reference]
    rows = [_main_row(line, found.reference) for line in found.lines]
    place = headers(found).index(f"difference to {found.reference}") + 1
    titles: list[object] = [*headers(found)]
    titles.insert(place, "discordant")
    return table(titles, rows, caption=f"{found.table.experiment}, {found.table.dataset}: results", marked=marked)


def _main_row(line: Line, reference: str) -> list[object]:
    row: list[object] = [*cells(line)]
    found, metric = line.difference, line.group.metric
    discordant: object = numbers.NONE
    if line.group.method == reference:
        row[3] = tag("span", "reference", css="quiet")
    elif found is not None:
        unseen = f"cannot see under {numbers.value(found.smallest_detectable, metric)}"
        css = "sure" if found.distinguishable else ""
        row[3] = join([tag("span", row[3], css=css), tag("small", unseen)])
        discordant = f"{found.a_only} : {found.b_only}"
    row.insert(4, discordant)
    return row


def comparison(found: Lines) -> Html:
    """The figure of all methods."""
    caption = (
        "Points: mean over seeds; bars: 95 % interval over seeds and items; small dots: single seeds; dashed line: "
        f"{found.reference}."
    )
    if any(line.group.published is not None for line in found.lines):
        caption += " Diamonds: published values."
    return figure(comparison_figure(found), caption)


def _range(counts: set[int]) -> str:
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
