"""How the stages learned: a small picture per stage, shared stages once."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from awase.records import StageRecord
from awase.report.figures import Panel, curves_figure
from awase.report.groups import Table
from awase.report.html import Html, join, tag

_KEY = (
    "Above: validation metric, a line per seed and fold, the kept epoch dotted. Below: loss on "
    '<span class="train">train</span> and <span class="val">validation</span>. '
    "A stage that methods share was trained once."
)


@dataclass(frozen=True)
class SharedStage:
    """A stage with its distinct results (one per seed and fold) and the methods that contain exactly these."""

    name: str
    methods: tuple[str, ...]
    results: tuple[StageRecord, ...]

    @property
    def owners(self) -> str:
        """The methods in words, short where many share the stage."""
        return ", ".join(self.methods) if len(self.methods) < 4 else f"shared by {len(self.methods)} methods"


def shared_stages(found: Table, wanted: Callable[[StageRecord], bool]) -> list[SharedStage]:
    """Returns the stages of all methods for which `wanted` holds, each set of results once; the most shared first."""
    results: dict[tuple[str, str], dict[str, StageRecord]] = defaultdict(dict)
    for group in found.groups:
        for run in group.runs:
            for stage in run.record.stages:
                if wanted(stage):
                    results[group.method, stage.name][stage.hash] = stage
    methods: dict[tuple[str, frozenset[str]], list[str]] = defaultdict(list)
    for (method, name), stages in results.items():
        methods[name, frozenset(stages)].append(method)
    shared = [
        SharedStage(name, tuple(sharing), tuple(results[sharing[0], name].values()))
        for (name, _), sharing in methods.items()
    ]
    return sorted(shared, key=lambda stage: -len(stage.methods))


def learning_curves(found: Table) -> Html:
    """The curves of every stage that learned something."""
    stages = shared_stages(found, lambda stage: bool(stage.curve))
    if not stages:
        return Html("")
    return join([tag("p", Html(_KEY), css="quiet"), tag("div", *(_card(s, found.metric) for s in stages), css="grid")])


def _card(stage: SharedStage, metric: str) -> Html:
    panel = Panel(
        stage.name,
        stage.methods,
        metric,
        tuple(result.curve for result in stage.results),
        tuple(result.best_epoch for result in stage.results),
    )
    title = tag("figcaption", tag("strong", stage.name), " ", tag("span", stage.owners, css="quiet"))
    return Html(f"<figure>{title}{curves_figure(panel)}</figure>")
