"""The tables of a stream of data sets, as HTML and in plain words."""

from awase.report import numbers
from awase.report.groups import Stat, Table
from awase.report.html import Html, fold_out, join, table, tag
from awase.report.plain import Plain
from awase.report.stream import Streamed, StreamTable, stream_tables
from awase.statistics import Interval

METRIC = "accuracy"
_NAMING = {
    False: "All classes of the stream compete; the model is not told the data set of a row.",
    True: "The data set of every row is known: only its classes compete, and of a bank its own adapters and heads "
    "answer.",
}
_ABOUT = (
    "R[i, j] is the test accuracy on data set j after stage i; N is the last stage. AA: mean over the data sets of "
    "R[N, j]. LA: of R[j, j], each data set when it was learned. BWT: R[N, j] − R[j, j]. F: the best score since then "
    "minus the last; the best of noisy scores is too high on average, and so is F. FWT: R[j − 1, j] minus one "
    "over the number of classes. I: the score of joint training minus the best. GC: the share of the gap between naive "
    "and joint training that is closed, where the interval of that gap is above zero. Test was read once, after the "
    "last stage."
)


def stream_section(found: Table) -> Html:
    """Both namings apart, each with the scores after every stage, the measures, and every data set's in a fold."""
    tables = stream_tables(found)
    if not tables:
        return Html("")
    return join([tag("p", _ABOUT, css="quiet"), *(_naming(one) for one in tables)])


def stream_plain(found: Table) -> list[Plain]:
    """The same tables in plain words."""
    parts: list[Plain] = []
    for one in stream_tables(found):
        name = f"{found.experiment}, {one.title.lower()}"
        parts.append(Plain(f"{name}: accuracy after every stage, %", _matrix_titles(one), _matrix(one)))
        notes = (_NAMING[one.known], _ABOUT)
        parts.append(Plain(f"{name}: measures, accuracy in points", _titles(one), _means(one), notes))
    return parts


def _naming(one: StreamTable) -> Html:
    measured = [line for line in one.lines if line.metrics is not None]
    return join(
        [
            tag("h4", one.title),
            tag("p", _NAMING[one.known], css="quiet"),
            table(
                _matrix_titles(one),
                _matrix(one, marked=True),
                caption="Test accuracy after every stage, %; "
                "bold where this or an earlier stage has learned from the data set",
            ),
            table(_titles(one), _means(one), caption="Means over the data sets, accuracy in points"),
            *(fold_out(f"{line.group.method}: every data set", _every(one, line)) for line in measured),
        ]
    )


def _matrix_titles(one: StreamTable) -> tuple[str, ...]:
    return ("method and stage", *one.data_sets, "mean")


def _matrix(one: StreamTable, *, marked: bool = False) -> tuple[tuple[str, ...], ...]:
    rows = []
    for line in one.lines:
        for place, stage in enumerate(line.stages):
            name = line.group.method if line.kind != "sequence" else f"{line.group.method}, after {stage}"
            cells = [_score(line, place, j, marked) for j in range(len(one.data_sets))]
            rows.append((name, *cells, numbers.value(_mean(line.scores[place]), METRIC)))
    return tuple(rows)


def _score(line: Streamed, place: int, column: int, marked: bool) -> str:
    shown = numbers.stat(line.scores[place][column], METRIC)
    return tag("span", shown, css="sure") if marked and line.first[column] <= place else shown


def _mean(row: tuple[Stat | None, ...]) -> float | None:
    there = [stat.mean for stat in row if stat is not None]
    return sum(there) / len(there) if len(there) == len(row) else None


def _titles(one: StreamTable) -> tuple[str, ...]:
    other = f"AA − {one.naive}" if one.naive is not None else "AA − naive"
    return ("method", "AA", "95 % interval", other, "LA", "BWT", "F", "FWT", "I", "GC")


def _means(one: StreamTable) -> tuple[tuple[str, ...], ...]:
    return tuple(_mean_row(line) for line in one.lines)


def _mean_row(line: Streamed) -> tuple[str, ...]:
    means = line.metrics
    head = (
        line.group.method,
        numbers.value(_mean(line.scores[-1]), METRIC),
        numbers.interval(line.average, METRIC),
        numbers.difference(line.difference, METRIC),
    )
    if means is None:
        return (*head, *(numbers.NONE,) * 6)
    return (
        *head,
        numbers.value(means.learned, METRIC),
        _change(means.backward),
        numbers.value(means.forgetting, METRIC),
        _change(means.forward),
        _change(means.intransigence),
        numbers.NONE if line.closed is None else f"{line.closed:.2f}",
    )


def _every(one: StreamTable, line: Streamed) -> Html:
    assert line.metrics is not None, "a method of several stages"
    rows: list[list[object]] = []
    for name, task, known in zip(one.data_sets, line.metrics.tasks, line.intervals, strict=True):
        rows.append(
            [
                name,
                numbers.value(task.final, METRIC),
                numbers.value(task.learned, METRIC),
                _with(task.backward, None if known is None else known.backward),
                _with(task.forgetting, None if known is None else known.forgetting),
                _change(task.forward),
                _with(task.intransigence, None if known is None else known.intransigence),
                _with(task.gap, None if known is None else known.gap),
            ]
        )
    titles = ["data set", "last R[N]", "learned", "BWT", "F", "FWT", "I", "R* − R[N]"]
    caption = f"{line.group.method}: accuracy in points; in brackets 95 % intervals over seeds and rows"
    return table(titles, rows, caption=caption)


def _with(value: float | None, interval: Interval | None) -> Html:
    if value is None or interval is None:
        return Html(_change(value))
    return join([_change(value), tag("small", f"[{_change(interval.low)}, {_change(interval.high)}]")])


def _change(value: float | None) -> str:
    return numbers.NONE if value is None else numbers.signed(value, METRIC)
