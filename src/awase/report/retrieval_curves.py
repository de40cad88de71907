"""How a space was learned: R@k of every directed pair on validation over all epochs, across the stages' boundaries."""

from collections import defaultdict

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from awase.report import numbers
from awase.report.groups import Group
from awase.report.html import Html, join, tag
from awase.report.retrieval_lines import SpaceLines
from awase.report.retrieval_numbers import stages_of
from awase.report.svg import INK, draw
from awase.statistics import is_pair

_KEY = (
    "Validation, a thick line per directed pair for the mean over runs, thin lines for single runs. A vertical line is "
    "the boundary of two stages: what is measured right of it began from the epoch that was kept left of it."
)

COLORS = ("#1f5a92", "#b3541e", "#2e7d5b", "#8e5bb5", "#c79a1b", "#d1477a", "#5c6b7a", "#3aa0a8")

Points = dict[str, dict[int, list[float]]]


def space_curves(found: SpaceLines) -> Html:
    """A figure per method."""
    metric = f"R@{found.k}"
    pairs = [name for name in found.directions if is_pair(name)]
    figures = [_card(line.group, pairs, metric) for line in found.lines if curve_points(line.group, pairs, metric)[0]]
    if not figures:
        return Html("")
    return join([tag("p", _KEY, css="quiet"), tag("div", *figures, css="grid wide")])


def _card(group: Group, pairs: list[str], metric: str) -> Html:
    title = tag("figcaption", tag("strong", group.method))
    return Html(f"<figure>{title}{curves_of_space(group, pairs, metric)}</figure>")


def curve_points(group: Group, pairs: list[str], metric: str) -> tuple[Points, dict[str, int]]:
    """Directed pair -> epoch over all stages -> its value in every run; stage -> the epoch at which it begins.

    A stage begins after the longest of the earlier one in any run. Epochs that did not measure a pair are left out.
    """
    points: Points = {}
    begins, begin = dict[str, int](), 0
    for name in stages_of(group):
        stages = [stage for run in group.runs for stage in run.record.stages if stage.name == name]
        begins[name] = begin
        for stage in stages:
            for place, epoch in enumerate(stage.curve):
                for pair in pairs:
                    value = epoch.metrics.get(f"{metric} {pair}")
                    if value is not None:
                        points.setdefault(pair, defaultdict(list))[begin + place].append(value)
        begin += max((len(stage.curve) for stage in stages), default=0)
    return points, begins


def curves_of_space(group: Group, pairs: list[str], metric: str) -> str:
    """Returns the figure of one method."""
    points, begins = curve_points(group, pairs, metric)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, pair in enumerate(pairs):
            found, color = points.get(pair, {}), COLORS[place % len(COLORS)]
            epochs = sorted(found)
            means = [100 * sum(found[k]) / len(found[k]) for k in epochs]
            for part in _pieces(epochs, list(begins.values())):
                marker = "o" if len(part) == 1 else None
                shown = [means[epochs.index(k)] for k in part]
                axes.plot(part, shown, color=color, linewidth=1.7, marker=marker, markersize=3)
                for run in range(max(len(found[k]) for k in part)):
                    own = [k for k in part if run < len(found[k])]
                    axes.plot(own, [100 * found[k][run] for k in own], color=color, linewidth=0.6, alpha=0.4)
            axes.plot([], [], color=color, linewidth=1.7, label=pair)
        for begin in list(begins.values())[1:]:
            axes.axvline(begin - 0.5, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        for name, begin in begins.items():
            axes.text(begin, 1.01, name, transform=axes.get_xaxis_transform(), fontsize=8, va="bottom")
        axes.set_xlabel("epoch, over all stages")
        axes.set_ylabel(f"val {numbers.header(metric)}")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True))
        axes.legend(frameon=False, fontsize=8, ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5))

    last = "; ".join(
        f"{pair} {100 * sum(found[max(found)]) / len(found[max(found)]):.3g}" for pair, found in points.items()
    )
    stages = ", ".join(f"{name} from epoch {begin}" for name, begin in begins.items())
    alt = f"Validation {metric} of {group.method} by epoch ({stages}); in percent at the last epoch: {last}."
    return draw(paint, 5.2, 2.9, alt)


def _pieces(epochs: list[int], begins: list[int]) -> list[list[int]]:
    """The epochs of each stage: lines are not drawn across a boundary."""
    ends = [*begins[1:], max(epochs, default=0) + 1]
    parts = [[k for k in epochs if low <= k < high] for low, high in zip(begins, ends, strict=True)]
    return [part for part in parts if part]
