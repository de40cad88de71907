"""`awase data`: look at a table before training on it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from awase.cli.flow import flow
from awase.cli.group import Group
from awase.cli.output import print_json

app = typer.Typer(cls=Group, help="Look at data before training on it.")
app.command("flow")(flow)


@app.callback()
def _data() -> None:
    """Look at data before training on it."""


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="A table, or an experiment as `awase run` takes it.")],
    assignments: Annotated[list[str] | None, typer.Option("--set", help="data.field=value (repeatable).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Count rows per split and class, list unreadable files, ids and groups shared between splits, durations."""
    from awase.data import check_manifest
    from awase.runner.resolve import resolve_experiment, table_data

    is_table = Path(name).is_file() and "::" not in name
    data = table_data(Path(name), assignments or []) if is_table else resolve_experiment(name, assignments or []).data
    facts = check_manifest(data)
    if as_json:
        print_json(facts)
    else:
        print(_described(facts))
    if facts["problems"]:
        raise typer.Exit(2)


def _described(facts: dict[str, Any]) -> str:
    lines = [f"{facts['rows']} rows, {facts['task'].replace('_', ' ')}"]
    lines += [
        f"{name}: {setting['kind']} from column {setting['column']!r}" for name, setting in facts["inputs"].items()
    ]
    for split, counts in facts["splits"].items():
        classes = ", ".join(f"{name} {count}" for name, count in counts["classes"].items())
        lines.append(f"{split}: {counts['count']} rows ({classes})")
    for name, found in facts["unreadable"].items():
        reasons = "; ".join(f"{reason}: {count}" for reason, count in found["by_reason"].items())
        lines.append(f"unreadable {name}: {found['count']}" + (f" ({reasons})" if reasons else ""))
    for name, spread in facts["durations_s"].items():
        if spread is not None:
            lines.append(
                f"seconds of {name}: {spread['min']:.2f} to {spread['max']:.2f}, median {spread['median']:.2f}"
            )
    for what, shared in facts["shared_between_splits"].items():
        lines.append(f"{what} in more than one split: {'not known' if shared is None else shared['count']}")
    lines += [f"PROBLEM: {sentence}" for sentence in facts["problems"]] or ["A run would start."]
    return "\n".join(lines)
