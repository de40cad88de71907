"""The pictures of a report: methods side by side, learning curves, a confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from awase.records import Epoch
from awase.report import numbers
from awase.report.groups import is_fraction
from awase.report.lines import Line, Lines
from awase.report.svg import ACCENT, INK, OTHER, SOFT, draw

MAX_NAMED_CLASSES = 30


def comparison_figure(found: Lines) -> str:
    """Returns the methods' test means with intervals, a dot per seed, and published values as diamonds."""
    lines = [line for line in found.lines if line.test is not None]
    metric = found.table.metric

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, line in enumerate(lines):
            _paint_line(axes, place, line, line.group.method == found.reference)
            if line.group.method == found.reference and line.test is not None:
                axes.axvline(
                    _shown(line.test.mean, metric), color=OTHER, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1
                )
        axes.set_yticks(range(len(lines)), [line.group.method for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"test {numbers.header(metric)}")
        if is_fraction(metric):
            low, high = axes.get_xlim()
            axes.set_xlim(max(low, -1), min(high, 101))

    values = "; ".join(f"{line.group.method} {numbers.stat(line.test, metric)}" for line in lines)
    return draw(paint, 8.0, 0.75 + 0.36 * max(len(lines), 2), f"Test {numbers.header(metric)} by method: {values}.")


def _paint_line(axes: Axes, place: int, line: Line, is_reference: bool) -> None:
    metric, color = line.group.metric, OTHER if is_reference else ACCENT
    if line.test is None:
        return
    if line.interval is not None:
        ends = [_shown(line.interval.low, metric), _shown(line.interval.high, metric)]
        axes.plot(ends, [place, place], color=color, linewidth=2.2, solid_capstyle="butt", alpha=0.75)
    seeds = [_shown(value, metric) for value in line.test.per_seed.values()]
    axes.plot(seeds, [place + 0.22] * len(seeds), "o", color=SOFT, markersize=3.6)
    axes.plot([_shown(line.test.mean, metric)], [place], "o", color=color, markersize=7)
    if line.group.published is not None:
        published = [_shown(line.group.published, metric)]
        axes.plot(published, [place], "D", markerfacecolor="white", markeredgecolor=INK, markersize=5.5)


def _shown(value: float, metric: str) -> float:
    return 100 * value if is_fraction(metric) else value


@dataclass(frozen=True)
class Panel:
    """One small picture of learning curves: a stage, the methods that contain it, and a curve per distinct run."""

    stage: str
    methods: tuple[str, ...]
    metric: str
    curves: tuple[tuple[Epoch, ...], ...]
    best_epochs: tuple[int | None, ...]


def curves_figure(panel: Panel) -> str:
    """Returns the validation metric (above) and the losses (below) by epoch, a thin line per run."""

    def paint(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True)
        for curve, best in zip(panel.curves, panel.best_epochs, strict=True):
            epochs = [point.epoch for point in curve]
            values = [_shown(point.val_metric, panel.metric) for point in curve]
            above.plot(epochs, values, color=ACCENT, linewidth=0.9, alpha=0.75)
            if best in epochs:
                above.plot([best], [values[epochs.index(best)]], "o", color=ACCENT, markersize=3)
            below.plot(epochs, [point.train_loss for point in curve], color=OTHER, linewidth=0.9, alpha=0.75)
            below.plot(epochs, [point.val_loss for point in curve], color=ACCENT, linewidth=0.9, alpha=0.75)
        if is_fraction(panel.metric):
            above.set_ylim(top=min(above.get_ylim()[1], 101))
        above.set_ylabel(f"val {numbers.header(panel.metric)}")
        below.set_ylabel("loss")
        below.set_xlabel("epoch")
        below.xaxis.get_major_locator().set_params(integer=True)
        figure.align_ylabels()

    last = [_shown(curve[-1].val_metric, panel.metric) for curve in panel.curves]
    alt = (
        f"Learning curves of stage {panel.stage} of {', '.join(panel.methods)}: {numbers.plural(len(last), 'run')}, "
        f"validation {panel.metric} {min(last):.3g} to {max(last):.3g} at the last epoch."
    )
    return draw(paint, 3.5, 2.9, alt)


def confusion_figure(counts: Int[np.ndarray, "classes classes"], classes: Sequence[str]) -> str:
    """Returns the confusion matrix, rows by target in shares of the row; counts are written where there is room."""
    num = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        figure.colorbar(image, ax=axes, shrink=0.8, label="share of the class")
        axes.grid(visible=False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("target")
        if num <= MAX_NAMED_CLASSES:
            axes.set_xticks(range(num), classes, rotation=0 if num <= 12 and _narrow(classes) else 90)
            axes.set_yticks(range(num), classes)
        if num <= 12:
            for row, column in np.ndindex(num, num):
                color = "white" if shares[row, column] > 0.5 else INK
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, fontsize=8)

    size = min(7.0, 3.2 + 0.22 * num)
    right = np.trace(counts) / max(counts.sum(), 1)
    alt = f"Confusion matrix of {num} classes: {counts.sum()} predictions, {100 * right:.1f} % on the diagonal."
    return draw(paint, size, 0.85 * size, alt)


def _narrow(classes: Sequence[str]) -> bool:
    return max(len(name) for name in classes) <= 6
