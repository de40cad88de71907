"""The worst queries of the last stage, with what was found instead, as the runs wrote them down."""

from awase.report.html import Html, fold_out, join, table, tag
from awase.report.load import Run
from awase.report.retrieval_lines import SpaceLines
from awase.statistics import Found, WorstQueries


def worst_section(found: SpaceLines) -> Html:
    """The worst queries of the method that validation ranks first, and of the reference, each of its first run."""
    best = found.best
    names = dict.fromkeys(([best.group.method] if best is not None else []) + [found.reference])
    groups = {group.method: group for group in found.table.groups}
    parts = [part for name in names for part in _of_run(found, name, groups[name].runs[0])]
    if not parts:
        return Html("")
    about = tag(
        "p",
        "The queries whose own item has the lowest rank, and the three items that score highest instead. Shown: the "
        "method that validation ranks first and the reference, of each its first run; worst.json in a run's folder "
        "has them for every run.",
        css="quiet",
    )
    return join([about, *parts])


def _of_run(found: SpaceLines, method: str, run: Run) -> list[Html]:
    fold = "" if run.record.fold is None else f", fold {run.record.fold}"
    return [
        fold_out(f"{method}, seed {run.record.seed}{fold}: {part.direction} on {part.split}", _table(part))
        for part in run.worst()
        if part.split in found.splits and part.queries
    ]


def _table(part: WorstQueries) -> Html:
    rows: list[list[object]] = [
        [
            f"{query.rank + 1}",
            _named(query.id, query.text),
            f"{query.own_score:.3f}".replace("-", "−"),
            *(_item(item) for item in query.found),
        ]
        for query in part.queries
    ]
    most = max(len(row) for row in rows)
    titles = [f"rank of {part.gallery}", "query", "score of its item", *(f"found {k + 1}" for k in range(most - 3))]
    lost = f"; {part.lost} queries whose item is missing have no rank" if part.lost else ""
    return table(titles, rows, caption=f"{part.direction} on {part.split}, after stage {part.stage}{lost}")


def _item(item: Found) -> Html:
    return join([_named(item.id, item.text), tag("small", f"score {item.score:.3f}".replace("-", "−"))])


def _named(name: str, text: str | None) -> Html:
    """The text above the id, or the id alone."""
    return tag("span", name) if text is None else join([tag("span", text), tag("small", name)])
