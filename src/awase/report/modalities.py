"""What each modality contributes: inside the model, alone, missing; what its encoder knows; what was forgotten."""

from collections import defaultdict

import numpy as np

from awase.report import numbers
from awase.report.groups import Table, stat_of
from awase.report.html import Html, table
from awase.report.learning import SharedStage, shared_stages

_TITLES = {"modality": "{} inside", "only": "{} only", "without": "without {}", "missing": "{} missing"}


def modalities_table(found: Table) -> Html:
    """Test results by what the model may see; `inside` are a modality's own logits in the joint model."""
    entries = [entry for group in found.groups for run in group.runs for entry in run.record.metrics]
    conditions = {entry.condition for entry in entries if entry.split == "test"} - {"full"}
    wanted = sorted(conditions, key=_place)
    rows = []
    for group in found.groups:
        stats = [group.stat("test", found.metric, name) for name in ("full", *wanted)]
        if any(stat is not None for stat in stats[1:]):
            rows.append([group.method, *(numbers.stat(stat, found.metric) for stat in stats)])
    if not rows:
        return Html("")
    titles = ["method", "all", *(_title(name) for name in wanted)]
    return table(titles, rows, caption=f"Test {numbers.header(found.metric)} by what the model may see")


def _place(condition: str) -> tuple[int, str]:
    kind = condition.partition(":")[0]
    return list(_TITLES).index(kind) if kind in _TITLES else len(_TITLES), condition


def _title(condition: str) -> str:
    kind, _, name = condition.partition(":")
    if kind not in _TITLES:
        return condition
    return _TITLES[kind].format(f"{100 * float(name):g} %" if kind == "missing" else name)


def probes_table(found: Table) -> Html:
    """A linear classifier on each encoder's frozen features, after each stage."""
    stages = shared_stages(found, lambda stage: bool(stage.probes))
    names = sorted({name for stage in stages for result in stage.results for name in result.probes})
    rows = [[f"{stage.name} ({stage.owners})", *(_probe(stage, name) for name in names)] for stage in stages]
    if not rows:
        return Html("")
    return table(["after stage", *names], rows, caption="Linear probe on each encoder, test, %")


def _probe(stage: SharedStage, modality: str) -> str:
    values = [result.probes[modality] for result in stage.results if modality in result.probes]
    return numbers.stat(stat_of(dict(enumerate(values))), "accuracy")


def guards_table(found: Table) -> Html:
    """Validation results of earlier stages before and after a later one: what was forgotten."""
    rows: list[list[object]] = []
    for stage in shared_stages(found, lambda stage: bool(stage.guards)):
        values: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for result in stage.results:
            for earlier, guard in result.guards.items():
                values[earlier].append((guard["before"], guard["after"]))
        for earlier, pairs in values.items():
            before, after = np.array(pairs).mean(axis=0).tolist()
            shown = [numbers.value(before, found.metric), numbers.value(after, found.metric)]
            rows.append(
                [f"{stage.name} ({stage.owners})", earlier, *shown, numbers.signed(after - before, found.metric)]
            )
    if not rows:
        return Html("")
    titles = ["stage", "earlier stage", "before", "after", "change"]
    return table(titles, rows, caption=f"Validation {numbers.header(found.metric)} of earlier stages")
