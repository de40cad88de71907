"""The pictures of a diagnosis: what each modality knows, what it adds, and how far apart they were in training."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from awase.records import BalancePoint, Diagnosis, Estimate
from awase.report.diagnosis_words import DIFFERENCES, ROWS, change, level, metric_word
from awase.report.svg import ACCENT, INK, OTHER, draw

COLORS = (ACCENT, OTHER, "#2e7d5b", "#7a4a9e", "#8a6d1f", "#4a5a6a")
"""A modality's in order, also in the lines of the curves."""


def levels_figure(diagnosis: Diagnosis) -> str:
    """Returns what each modality knows by each way of asking, beside the constant and the whole model."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        _paint_rows(axes, diagnosis, ROWS)
        for value, color, name in (
            (diagnosis.constant.value, "#8a97a5", "constant"),
            (diagnosis.whole.value, INK, "whole model"),
        ):
            axes.axvline(100 * value, color=color, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
            axes.text(100 * value, -0.75, name, color=color, ha="center", va="bottom", fontsize=8)
        axes.set_xlabel(f"{metric_word(diagnosis)}, %")
        axes.set_xlim(max(axes.get_xlim()[0], 0), min(axes.get_xlim()[1], 101))

    alt = _alt(diagnosis, ROWS, level, f"{metric_word(diagnosis)} of each modality, in percent")
    return draw(paint, 8.0, _height(diagnosis, ROWS), alt)


def gains_figure(diagnosis: Diagnosis) -> str:
    """Returns what each modality adds: left out, left out of a mean of probes, and its Shapley value."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
        _paint_rows(axes, diagnosis, DIFFERENCES)
        axes.set_xlabel(f"points of {metric_word(diagnosis)}")

    alt = _alt(diagnosis, DIFFERENCES, change, f"What each modality adds, in points of {metric_word(diagnosis)}")
    return draw(paint, 8.0, _height(diagnosis, DIFFERENCES), alt)


def balance_figure(stage: str, curve: Sequence[BalancePoint], modalities: Sequence[str]) -> str:
    """Returns target scores, discrepancy ratios and gradient norms of one stage by epoch, a line per modality."""
    panels = [
        (name, words)
        for name, words in (
            ("target_scores", "probability of the target"),
            ("ratios", "discrepancy ratio"),
            ("gradient_norms", "gradient norm"),
        )
        if any(len(getattr(point, name)) > 1 for point in curve)
    ]

    def paint(figure: Figure) -> None:
        for axes, (name, words) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for color, modality in zip(_colors(len(modalities)), modalities, strict=True):
                found = [(p.epoch, getattr(p, name)[modality]) for p in curve if modality in getattr(p, name)]
                marker = "o" if len(found) == 1 else None
                axes.plot(
                    [epoch for epoch, _ in found],
                    [value for _, value in found],
                    color=color,
                    linewidth=1.6,
                    marker=marker,
                    label=modality,
                )
            if name == "ratios":
                axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_title(words, fontsize=9)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            if name == panels[0][0]:
                axes.legend(frameon=False, fontsize=8)

    last = curve[-1]
    values = "; ".join(f"{words} {_values(getattr(last, name))}" for name, words in panels)
    return draw(paint, 8.6, 2.6, f"Stage {stage}, at its last epoch: {values}.")


def _paint_rows(axes: Axes, diagnosis: Diagnosis, kinds: Sequence[tuple[str, str]]) -> None:
    """A group of rows per modality, a dot with its interval per kind of number."""
    place, ticks, labels = 0.0, [], []
    for color, (name, evidence) in zip(_colors(len(diagnosis.modalities)), diagnosis.modalities.items(), strict=True):
        for key, words in kinds:
            found: Estimate | None = getattr(evidence, key)
            if found is None:
                continue
            axes.plot([100 * found.low, 100 * found.high], [place, place], color=color, linewidth=2.2, alpha=0.7)
            axes.plot([100 * found.value], [place], "o", color=color, markersize=6)
            ticks.append(place)
            labels.append(f"{name}: {words}")
            place += 1
        place += 0.6
    axes.set_yticks(ticks, labels)
    axes.set_ylim(place - 0.9, -0.8)
    axes.grid(visible=False, axis="y")


def _height(diagnosis: Diagnosis, kinds: Sequence[tuple[str, str]]) -> float:
    rows = sum(getattr(part, key) is not None for part in diagnosis.modalities.values() for key, _ in kinds)
    return 0.8 + 0.27 * (rows + 0.6 * len(diagnosis.modalities))


def _alt(diagnosis: Diagnosis, kinds: Sequence[tuple[str, str]], words: object, what: str) -> str:
    assert callable(words), "a function that writes an estimate"
    parts = [
        f"{name} {kind} {words(getattr(evidence, key))}"
        for name, evidence in diagnosis.modalities.items()
        for key, kind in kinds
        if getattr(evidence, key) is not None
    ]
    return f"{what}: {'; '.join(parts)}."


def _colors(number: int) -> list[str]:
    return [COLORS[place % len(COLORS)] for place in range(number)]


def _values(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
