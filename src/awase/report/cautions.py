"""What a reader of the numbers must know, collected from the records of a table."""

import json
from collections import defaultdict
from typing import Any

from awase.report import numbers
from awase.report.groups import Table
from awase.report.load import Run
from awase.report.numbers import plural


def cautions(table: Table) -> list[str]:
    """Returns the warnings about a table's runs, each once, with the methods or runs they are about."""
    runs = [run for group in table.groups for run in group.runs]
    return [
        *_published(table),
        *_uneven(table),
        *_still_improving(runs),
        *_data(runs),
        *_looks(runs),
        *_notes(runs),
        *_sources(runs),
    ]


def _published(table: Table) -> list[str]:
    """What the published numbers were measured on, what their stars mean, and those of metrics not in the table."""
    found = []
    experiments = (run.record.config.get("experiment") for group in table.groups for run in group.runs)
    notes = (one.get("published_note") for one in experiments if isinstance(one, dict))
    found += list(dict.fromkeys(note for note in notes if note))
    if any(group.starred for group in table.groups):
        found.append("*: starred in its source, most likely a result re-run by its authors rather than copied.")
    names = {entry.name for group in table.groups for run in group.runs for entry in run.record.metrics}
    for metric in sorted(names - {table.metric}):
        pairs = [(g, g.stat("test", metric), g.published_of(metric)) for g in table.groups]
        said = [
            f"{g.method} {numbers.stat(stat, metric)} (published {numbers.value(value, metric)})"
            for g, stat, value in pairs
            if value is not None
        ]
        if said:
            found.append(f"Test {numbers.header(metric)} beside published values: {', '.join(said)}.")
    return found


def _uneven(table: Table) -> list[str]:
    found = []
    tried = {run.record.settings_tried for group in table.groups for run in group.runs}
    if len(tried) > 1:
        found.append(f"The methods did not try equally many settings ({min(tried)} to {max(tried)}); see the column.")
    cells = {(run.record.seed, run.record.fold) for group in table.groups for run in group.runs}
    for group in table.groups:
        missing = len(cells) - len(group.runs)
        if missing:
            found.append(f"{group.method} lacks {missing} of {len(cells)} combinations of seed and fold.")
        if len({json.dumps(run.record.config.get("method"), sort_keys=True) for run in group.runs}) > 1:
            found.append(f"{group.method}: its runs were made with different settings of the method.")
    if all(len(group.seeds) < 2 for group in table.groups):
        found.append("There is one seed: nothing is known about how much another one changes the result.")
    return found


def _still_improving(runs: list[Run]) -> list[str]:
    stages: dict[str, set[str]] = defaultdict(set)
    methods: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        for stage in run.record.stages:
            if stage.still_improving:
                stages[stage.name].add(stage.hash)
                methods[stage.name].add(run.record.method)
    return [
        f"Stage {name} was still improving on validation at its last epoch in {plural(len(hashes), 'run')} "
        f"({', '.join(sorted(methods[name]))}): more epochs may change these numbers."
        for name, hashes in stages.items()
    ]


def _data(runs: list[Run]) -> list[str]:
    found = []
    for data in (run.record.data for run in runs):
        validation = data.get("validation") or {}
        if validation.get("made") == "carved":
            found.append(
                f"Validation was carved out of train (fraction {validation.get('fraction')}, by "
                f"{validation.get('by')}, seed {validation.get('seed')}): the data names none."
            )
        found += _listed(data.get("excluded"), "{} excluded")
        for name, listed in (data.get("missing") or {}).items():
            found += _listed(listed, f"{{}} without {name}")
        for name, shared in (data.get("shared_between_splits") or {}).items():
            if shared and shared.get("count"):
                found.append(f"A leak is possible: {shared['count']} {name} occur in more than one split.")
    return list(dict.fromkeys(found))


def _listed(listed: dict[str, Any] | None, words: str) -> list[str]:
    """A sentence about listed rows with their reasons; none where no row is listed."""
    if not listed or not listed.get("count"):
        return []
    reasons = ", ".join(f"{reason} ({count})" for reason, count in (listed.get("by_reason") or {}).items())
    return [f"{words.format(plural(listed['count'], 'row'))}: {reasons or 'no reason is known'}."]


def _looks(runs: list[Run]) -> list[str]:
    looks = sum(len(run.record.test_looks) for run in runs)
    return [f"The test split was looked at {plural(looks, 'more time')} after the runs were scored."] if looks else []


def _notes(runs: list[Run]) -> list[str]:
    about: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        said = tuple(
            f"Stage {stage.name!r} was still improving" for stage in run.record.stages if stage.still_improving
        )
        for note in run.record.notes:
            if not note.startswith(said):  # `_still_improving` says it once for all runs
                about[note].add(run.record.method)
    every = {run.record.method for run in runs}
    return [note if names == every else f"{', '.join(sorted(names))}: {note}" for note, names in about.items()]


def _sources(runs: list[Run]) -> list[str]:
    found = []
    if any(run.record.dirty for run in runs):
        found.append("Some runs were made from code with uncommitted changes.")
    if len({run.record.commit for run in runs}) > 1:
        found.append("The runs were made from different commits of the code.")
    if len({json.dumps(run.record.hardware, sort_keys=True) for run in runs}) > 1:
        found.append("The runs were made on different hardware, so their times do not compare.")
    return found


def short(value: Any, limit: int = 300) -> str:
    """A JSON value in words on one line, cut at `limit` characters."""
    text = _words(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items() if part is not None)
    if isinstance(value, list):
        return "; ".join(_words(part) for part in value) or "none"
    return str(value)
