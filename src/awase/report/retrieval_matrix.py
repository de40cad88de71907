"""The scores after every stage and what they say about learning, forgetting and intransigence, as HTML."""

from collections.abc import Sequence

from awase.report import numbers
from awase.report.html import Html, fold_out, grouped_table, join, table, tag
from awase.report.retrieval_lines import SpaceLines
from awase.report.retrieval_numbers import is_aware
from awase.report.retrieval_policies import closed, naive_of, policy_of
from awase.report.retrieval_stages import Staged, staged_methods
from awase.statistics import Interval, gallery_of, query_of

_ABOUT = (
    "R[i, j] is the score of direction j after stage i, and N the last stage. Learned: after the first stage that "
    "trains it. Forgetting F: the best score since then minus the last. Intransigence I: the score of {reference}, "
    "R*, minus the best: negative where a stage was better than it. BWT: last minus learned. A direction that no stage "
    "trains has no F and no I, one that the last stage trains first has no F. The best of noisy scores is too high on "
    "average, and so is F; BWT is free of that. Gap closed: 0 where the last score is that of naive staging in the "
    "same order, 1 where it is R*; only where the interval of naive staging's gap lies above zero. A direction with a "
    "modality that an earlier stage does not have has no score before it is trained, and so no FWT."
)


def stages_section(found: SpaceLines) -> Html:
    """Per test set: scores after every stage, means by method, and every direction of each method in a fold."""
    return join(_of_split(found, split) for split in found.splits)


def _of_split(found: SpaceLines, split: str) -> Html:
    staged = staged_methods(found, split)
    if not staged:
        return Html("")
    heading = tag("h4", f"Test set {split}") if len(found.splits) > 1 else Html("")
    about = tag("p", _ABOUT.format(reference=found.reference), css="quiet")
    measures = (
        fold_out(f"{one.group.method}: every direction", _measures(found, one, naive_of(one, staged))) for one in staged
    )
    return join([heading, about, _matrix(found, split, staged), _means(found, staged), _identity(staged), *measures])


def _matrix(found: SpaceLines, split: str, staged: Sequence[Staged]) -> Html:
    metric = f"R@{found.k}"
    every = {name for one in staged for name in one.tasks}
    asking = list(dict.fromkeys(query_of(name) for name in found.directions))
    tasks = [name for query in asking for name in found.directions if query_of(name) == query and name in every]
    groups = [
        (f"{query}->", ["+".join(gallery_of(name)) for name in tasks if query_of(name) == query]) for query in asking
    ]
    rows: list[list[object]] = []
    with_joint = next((one for one in staged if one.joint is not None), None)
    if with_joint is not None and with_joint.joint is not None:
        known = dict(zip(with_joint.tasks, with_joint.joint, strict=True))
        rows.append([f"{found.reference} (R*)", *(numbers.stat(known.get(name), metric) for name in tasks)])
    for one in staged:
        for place, stage in enumerate(one.stages):
            scores = (_score(one, place, task, metric) for task in tasks)
            aware = " (task-aware)" if is_aware(one.group, stage) else ""
            rows.append([f"{one.group.method}, after {stage}{aware}", *scores])
    caption = f"{metric}, % on {split} after every stage; bold where this or an earlier stage trains the direction"
    shown = [(name, titles) for name, titles in groups if titles]
    return grouped_table("stage", shown, rows, caption=caption, marked=[0] if with_joint is not None else [])


def _score(one: Staged, place: int, task: str, metric: str) -> object:
    if task not in one.tasks:
        return numbers.NONE
    column = one.tasks.index(task)
    first = one.first[column]
    text = numbers.stat(one.scores[place][column], metric)
    return tag("span", text, css="sure") if first is not None and first <= place else text


def _means(found: SpaceLines, staged: Sequence[Staged]) -> Html:
    metric = f"R@{found.k}"
    rows = []
    for one in staged:
        means = one.metrics
        values = [means.average, means.learned]
        rows.append(
            [
                one.group.method,
                policy_of(one.group),
                *(numbers.value(value, metric) for value in values),
                _change(means.backward, metric),
                numbers.value(means.forgetting, metric),
                _change(means.intransigence, metric),
            ]
        )
    titles = ["method", "policy", "last score (AA)", "learned (LA)", "BWT", "forgetting F", "intransigence I"]
    return table(titles, rows, caption=f"Means over the directions to which a measure applies, {metric} in points")


def _identity(staged: Sequence[Staged]) -> Html:
    deviations = [one.deviation for one in staged if one.deviation is not None]
    if not deviations:
        return Html("")
    return tag(
        "p",
        "R* − R[N] = I + F in every direction that a stage trains: the largest deviation here is "
        f"{round(100 * max(deviations), 9):g} points.",
        css="quiet legend",
    )


def _measures(found: SpaceLines, one: Staged, naive: Staged | None) -> Html:
    metric = f"R@{found.k}"
    titles = ["direction", "first trained in", "R*", "last R[N]", "learned", "BWT", "F", "I", "I + F", "R* − R[N]"]
    titles.append("gap closed")
    rows: list[list[object]] = []
    for place, (name, task, intervals) in enumerate(zip(one.tasks, one.metrics.tasks, one.intervals, strict=True)):
        first = one.first[place]
        both = None if task.intransigence is None else task.intransigence + (task.forgetting or 0.0)
        rows.append(
            [
                name,
                "no stage" if first is None else one.stages[first],
                numbers.stat(None if one.joint is None else one.joint[place], metric),
                numbers.value(task.final, metric),
                numbers.value(task.learned, metric),
                _with(task.backward, None if intervals is None else intervals.backward, metric),
                _with(task.forgetting, None if intervals is None else intervals.forgetting, metric),
                _with(task.intransigence, None if intervals is None else intervals.intransigence, metric),
                _change(both, metric),
                _with(task.gap, None if intervals is None else intervals.gap, metric),
                _share(closed(one, naive, place)),
            ]
        )
    caption = f"{one.group.method}: {metric} in points; in brackets 95 % intervals over seeds and queries"
    return table(titles, rows, caption=caption)


def _share(value: float | None) -> str:
    return numbers.NONE if value is None else f"{'−' if value < 0 else ''}{abs(value):.2f}"


def _with(value: float | None, interval: Interval | None, metric: str) -> Html:
    shown = _change(value, metric)
    if value is None or interval is None:
        return Html(shown)
    ends = f"[{_change(interval.low, metric)}, {_change(interval.high, metric)}]"
    return join([shown, tag("small", ends)])


def _change(value: float | None, metric: str) -> str:
    return numbers.NONE if value is None else numbers.signed(value, metric)
