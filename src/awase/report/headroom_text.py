"""The answer of `awase headroom` in words and tables."""

from collections.abc import Iterable, Sequence

from awase.methods.headroom import ADAPTERS
from awase.report import numbers
from awase.report.headroom import COMPARED, Headroom, PairHeadroom
from awase.report.headroom_verdict import METRIC
from awase.statistics import Difference

LABELS = {ADAPTERS: "adapters"}
CAUTION = (
    "Task-agnostic: one space answers, whatever is asked. Task-aware: the pair that is asked is known beforehand, and "
    "every pair has embeddings of its own. Differences: 95 % intervals over seeds and queries together; in parentheses "
    "the smallest difference that could be seen."
)


def render_headroom(found: Headroom) -> str:
    """Returns Markdown: the sentence, what every model costs, and per pair its verdict, R@k and differences."""
    parts = [found.sentence, CAUTION, _costs(found), *(_pair(one, found.split, f"R@{found.k}") for one in found.pairs)]
    return "\n\n".join(parts)


def _costs(found: Headroom) -> str:
    rows = [(LABELS.get(name, name), f"{cost.stored:,}", f"{cost.trained:,}") for name, cost in found.costs.items()]
    return _table(("for all pairs", "numbers stored per item", "parameters of the last stage"), rows)


def _pair(found: PairHeadroom, split: str, metric: str) -> str:
    directions = [one.direction for one in found.asked]
    first = found.asked[0]
    rows = [
        *((f"task-agnostic: {name}", [one.task_agnostic[name] for one in found.asked]) for name in first.task_agnostic),
        *(
            (f"task-aware: {LABELS.get(name, name)}", [one.task_aware[name] for one in found.asked])
            for name in first.task_aware
        ),
    ]
    shares = _table(
        (f"{split}, {numbers.header(metric)}", *directions),
        [(name, *(numbers.value(one, metric) for one in values)) for name, values in rows],
    )
    differences = _table(
        ("difference, points", *directions),
        [
            (
                f"{LABELS.get(a, a)} − {LABELS.get(b, b)}",
                *(_difference(one.differences[f"{a} - {b}"]) for one in found.asked),
            )
            for a, b in COMPARED
        ],
    )
    verdict = found.verdict.sentence
    return "\n\n".join((f"## {found.pair}", f"{verdict[:1].upper()}{verdict[1:]}", shares, differences))


def _difference(found: Difference) -> str:
    limit = numbers.value(found.smallest_detectable, METRIC) if found.has_limit else numbers.NONE
    return f"{numbers.difference(found, METRIC)} ({limit})"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ("---", *["---:"] * (len(titles) - 1)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
