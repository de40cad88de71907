"""The main tables as Markdown and as LaTeX."""

from collections.abc import Iterable, Sequence

from awase.report import numbers
from awase.report.cautions import cautions
from awase.report.groups import Group, Overview, tabulate
from awase.report.lines import Line, Lines, build_lines
from awase.report.load import Run
from awase.report.plain import Plain
from awase.report.retrieval_numbers import by_protocol
from awase.report.retrieval_text import retrieval_tables
from awase.report.stream_page import stream_plain

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "∞": r"$\infty$",
}


def headers(found: Lines) -> list[str]:
    """The column titles of a main table."""
    metric = numbers.header(found.table.metric)
    return [
        "method",
        f"test {metric}",
        "95 % interval",
        f"difference to {found.reference}",
        "published",
        "seeds",
        "folds",
        "trainable",
        "time",
        "peak memory",
        "settings tried",
    ]


def cells(line: Line) -> list[str]:
    """The cells of a method under `headers`."""
    metric, group = line.group.metric, line.group
    tried = "–".join(dict.fromkeys((str(line.tried[0]), str(line.tried[-1]))))
    return [
        group.method,
        numbers.stat(line.test, metric),
        numbers.interval(line.interval, metric),
        numbers.difference(line.difference, metric),
        published(group, metric),
        str(len(group.seeds)),
        str(len(group.folds)),
        numbers.count(line.trainable),
        numbers.seconds(line.seconds),
        numbers.memory(line.memory_mib),
        tried,
    ]


def published(group: Group, metric: str) -> str:
    """The published value, with the star of its source."""
    return numbers.value(group.published_of(metric), metric) + ("*" if group.starred else "")


def render_markdown(runs: Iterable[Run]) -> str:
    """Returns a table per experiment and data set in GitHub's Markdown, with warnings and failed runs below."""
    overview = tabulate(runs)
    parts = [markdown_section(part) for part in plain_tables(overview)]
    return "\n".join([*parts, *_bullets(_closing(overview))])


def render_latex(runs: Iterable[Run]) -> str:
    """Returns a `tabular` per experiment and data set, for a document that loads the `booktabs` package."""
    overview = tabulate(runs)
    parts = [latex_tabular(part) for part in plain_tables(overview)]
    comments = [f"% {' '.join(line.split())}" for line in _closing(overview)]
    return "\n".join([*parts, *comments]) + "\n"


def failed_line(run: Run) -> str:
    """One sentence about a run that failed."""
    record = run.record
    fold = "" if record.fold is None else f", fold {record.fold}"
    reason = f": {record.notes[-1]}" if record.notes else ""
    return f"Failed, not counted: {record.experiment}, {record.method}, seed {record.seed}{fold}{reason}"


def plain_tables(overview: Overview) -> list[Plain]:
    """The main tables as words; of retrieval runs also those of stages, each protocol apart."""
    found: list[Plain] = []
    for table in overview.tables:
        if table.is_retrieval:
            found += [part for one in by_protocol(table) for part in retrieval_tables(one)]
        else:
            found += [_classification(build_lines(table)), *stream_plain(table)]
    return found


def _classification(found: Lines) -> Plain:
    title = f"{found.table.experiment}: {found.table.dataset}"
    rows = tuple(tuple(cells(line)) for line in found.lines)
    return Plain(title, tuple(headers(found)), rows, (*found.notes, *cautions(found.table)))


def _closing(overview: Overview) -> list[str]:
    return [*overview.notes, *(failed_line(run) for run in overview.failed)]


def _bullets(sentences: Sequence[str]) -> list[str]:
    return [f"- {_flat(sentence)}" for sentence in sentences] + [""] * bool(sentences)


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def markdown_section(part: Plain) -> str:
    """A heading, the table and what must be known of it, in GitHub's Markdown."""
    rows = [part.titles, ["---", *["---:"] * (len(part.titles) - 1)], *part.rows]
    table = "\n".join("| " + " | ".join(_flat(cell) for cell in row) + " |" for row in rows)
    return "\n".join([f"## {part.title}", "", table, "", *_bullets(part.notes)])


def latex_tabular(part: Plain) -> str:
    """The table for a document that loads `booktabs`; its title is a comment."""
    rows = [part.titles, *part.rows]
    lines = [" & ".join("".join(_LATEX.get(sign, sign) for sign in cell) for cell in row) + r" \\" for row in rows]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(part.titles) - 1)}}}"
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return "\n".join([f"% {' '.join(part.title.split())}", begin, *body, r"\end{tabular}", ""])
