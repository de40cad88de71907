"""The first part of a page about retrieval runs: what came out. Each function returns HTML, empty without content."""

from awase.report import numbers
from awase.report.groups import Stat
from awase.report.html import Html, bullets, fold_out, grouped_table, join, table, tag
from awase.report.results import spread_over
from awase.report.retrieval_lines import AWARE, Cell, SpaceLine, SpaceLines
from awase.report.retrieval_numbers import KS, METRICS, is_aware, is_trained, last_stage, space_stat
from awase.statistics import Difference


def protocol(found: SpaceLines) -> Html:
    """How the numbers came about, in one paragraph."""
    return tag(
        "p",
        f"Every number is the mean over {spread_over(found.table.groups)}; ± is the standard deviation over seeds. "
        "R@k: share of the queries whose own item is among the k that score highest; a tie counts against the query, "
        "and a query whose item is missing is a failure. MedR: median rank of those found, the best is 1; MedR_all, in "
        "the tables of all directions: of all queries, the failures at infinity. Epochs were "
        f"chosen on validation by {found.table.metric}, never on test; every stage's model was scored on test in one "
        "pass after the last stage. Intervals (95 %) come from a bootstrap over seeds and queries together, queries "
        "of one group drawn as one; differences are paired by seed and query. They are not corrected for the number "
        "of methods, and an interval that contains zero does not show that two methods are equal.",
        css="protocol",
    )


def findings(found: SpaceLines) -> Html:
    """What may be said at a glance, in the main directions of the first test set."""
    best = found.best
    if best is None or not found.splits or not found.main:
        return Html("")
    split, metric = found.splits[0], f"R@{found.k}"
    shown = ", ".join(
        f"{name} {numbers.stat(best.cells[split, name].stats.get(metric), metric)}" for name in found.main
    )
    sentences: list[object] = [
        join([tag("strong", best.title), f" ranks first on validation; on {split}, {metric} in %: {shown}."])
    ]
    for name in found.main:
        sentences += _verdicts(found, split, name)
    return bullets(sentences, css="findings")


def _verdicts(found: SpaceLines, split: str, direction: str) -> list[str]:
    """Who can be told from the reference in one direction."""
    known = [(line.title, line.cells[split, direction].differences.get(found.k)) for line in found.lines]
    there = [(name, one) for name, one in known if one is not None]
    words = []
    for word, wanted in (("higher than", 1), ("lower than", -1), ("not distinguishable from", 0)):
        names = [name for name, one in there if _side(one) == wanted]
        if names:
            words.append(f"{word} {found.reference}: {', '.join(names)}")
    return [f"{direction}, R@{found.k}: {'; '.join(words)}."] if words else []


def _side(found: Difference) -> int:
    """1 or -1 where the interval of the difference lies on one side of zero, else 0."""
    return 0 if not found.distinguishable else 1 if found.difference > 0 else -1


def main_tables(found: SpaceLines) -> Html:
    """Per test set the methods in the main directions, their differences, the protocols, and all directions."""
    return join(_of_split(found, split) for split in found.splits)


def _of_split(found: SpaceLines, split: str) -> Html:
    heading = tag("h4", f"Test set {split}") if len(found.splits) > 1 else Html("")
    sentences = [found.sentences[split, name] for name in found.main if (split, name) in found.sentences]
    every = fold_out(f"All directions on {split}", _every_direction(found, split))
    shown = [_results(found, split), bullets(sentences, css="quiet"), _banked(found, split)]
    shown += [_differences(found, split), every]
    return join([heading, *shown])


def _results(found: SpaceLines, split: str) -> Html:
    titles = [f"{m}, %" if m.startswith("R@") else m for m in METRICS]
    columns = [(name, aware) for name in found.main for aware in ((True, False) if found.aware else (None,))]
    words = {None: "", True: ", task-aware", False: ", task-agnostic"}
    groups = [(f"{name}{words[aware]}", titles) for name, aware in columns]
    rows = [
        [
            line.group.method,
            *(_of_column(line.cells[split, name], m, aware) for name, aware in columns for m in METRICS),
        ]
        for line in found.lines
    ]
    caption = f"{found.table.experiment}, {found.table.dataset}: {split}, after the last stage"
    shows = any(cell.published for line in found.lines for cell in line.cells.values())
    legend = "In brackets: 95 % intervals." + (" Published: as in the source." if shows else "")
    legend += f" {AWARE}" if found.aware else ""
    shown = grouped_table("method", groups, rows, caption=caption, marked=_marked(found))
    return join([shown, tag("p", legend, css="quiet legend")])


def _banked(found: SpaceLines, split: str) -> Html:
    """The columns with a query bank, which no raw number shares."""
    if split not in found.banks:
        return Html("")
    groups = [(f"{name}, inductive", [f"{m}, %" if m.startswith("R@") else m for m in METRICS]) for name in found.main]
    rows = [
        [
            line.title,
            *(numbers.stat(line.cells[split, name].banked.get(m), m) for name in found.main for m in METRICS),
        ]
        for line in found.lines
    ]
    caption = f"{found.table.experiment}, {found.table.dataset}: {split}, with a query bank (inductive)"
    shown = grouped_table("method", groups, rows, caption=caption, marked=_marked(found))
    return join([shown, tag("p", found.banks[split], css="quiet legend")])


def _of_column(cell: Cell, metric: str, aware: bool | None) -> Html:
    """A number in the column of its kind; None: there is one kind alone."""
    if aware is None or aware == cell.aware:
        return _number(cell, metric)
    return Html(numbers.NONE if aware else numbers.stat(cell.agnostic.get(metric), metric))


def _number(cell: Cell, metric: str) -> Html:
    stat = cell.stats.get(metric)
    parts: list[object] = [numbers.stat(stat, metric)]
    interval = cell.intervals.get(int(metric[2:])) if metric.startswith("R@") else None
    if interval is not None:
        parts.append(tag("small", numbers.interval(interval, metric)))
    if metric in cell.published:
        parts.append(tag("small", f"published {numbers.value(cell.published[metric], metric)}"))
    return join(parts)


def _differences(found: SpaceLines, split: str) -> Html:
    lines = [line for line in found.lines if any(line.cells[split, name].differences for name in found.main)]
    if not lines:
        return Html("")
    groups = [(name, [f"R@{k}" for k in KS]) for name in found.main]
    rows = [
        [line.title, *(_gap(line.cells[split, name].differences.get(k)) for name in found.main for k in KS)]
        for line in lines
    ]
    caption = f"Difference to {found.reference} in points, {split}, paired by seed and query"
    legend = (
        "In brackets: 95 % intervals; bold: zero lies outside. Limit: smaller differences cannot be seen with these "
        "seeds and queries (80 % power)."
    )
    return join([grouped_table("method", groups, rows, caption=caption), tag("p", legend, css="quiet legend")])


def _gap(found: Difference | None) -> Html:
    if found is None:
        return Html(numbers.NONE)
    value = tag("span", numbers.signed(found.difference, "R@1"), css="sure" if found.distinguishable else "")
    ends = f"[{numbers.signed(found.low, 'R@1')}, {numbers.signed(found.high, 'R@1')}]"
    limit = numbers.value(found.smallest_detectable if found.has_limit else None, "R@1")
    return join([value, tag("small", ends), tag("small", f"limit {limit}")])


def _every_direction(found: SpaceLines, split: str) -> Html:
    names = [*METRICS, "MedR_all", "MeanR"]
    titles = ["direction", "method", "trained", *(f"{m}, %" if m.startswith("R@") else m for m in names)]
    titles.append("R@1, same text right, %")
    rows = [
        [name, _asked(line, name, agnostic), *_direction_row(line, split, name, names, agnostic)]
        for name in found.directions
        for line in found.lines
        for agnostic in (False, True)
        if space_stat(line.group, last_stage(line.group), split, name, "MedR", agnostic=agnostic) is not None
    ]
    return table(titles, rows, caption=f"Every direction on {split}, after the last stage")


def _asked(line: SpaceLine, direction: str, agnostic: bool) -> str:
    aware = is_aware(line.group, last_stage(line.group), direction)
    return line.group.method + (" (task-agnostic)" if agnostic else " (task-aware)" if aware else "")


def _direction_row(line: SpaceLine, split: str, direction: str, names: list[str], agnostic: bool) -> list[str]:
    group, stage = line.group, last_stage(line.group)

    def stat(metric: str, same: bool = False) -> Stat | None:
        return space_stat(group, stage, split, direction, metric, same_caption=same, agnostic=agnostic)

    same = stat("R@1", same=True)
    return [
        "yes" if is_trained(group, stage, direction) else "no",
        *(numbers.stat(stat(name), name) for name in names),
        numbers.stat(same, "R@1") if same is not None else "the same",
    ]


def costs(found: SpaceLines) -> Html:
    """What every method took."""
    rows = [
        [
            line.group.method,
            f"{len(line.group.seeds)} × {len(line.group.folds)}",
            numbers.stat(line.val, found.table.metric),
            numbers.count(line.trainable),
            numbers.seconds(line.seconds),
            numbers.memory(line.memory_mib),
        ]
        for line in found.lines
    ]
    titles = ["method", "seeds × folds", f"validation {numbers.header(found.table.metric)}", "trainable parameters"]
    titles += ["time", "peak memory"]
    caption = "What validation chose by, and the cost of all stages of a run, also of those it re-used"
    return table(titles, rows, caption=caption, marked=_marked(found))


def _marked(found: SpaceLines) -> list[int]:
    return [place for place, line in enumerate(found.lines) if line.group.method == found.reference]
