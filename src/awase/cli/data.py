"""`awase data`: look at a table before training on it, and make one of a data set in its official layout."""

from pathlib import Path
from typing import Annotated, Any

import typer

from awase.cli.flow import flow
from awase.cli.group import Group
from awase.cli.output import print_json
from awase.cli.prepared import prepared_lines

app = typer.Typer(cls=Group, help="Make tables of known data sets, and look at data before training on it.")
app.command("flow")(flow)


@app.callback()
def _data() -> None:
    """Make tables of known data sets, and look at data before training on it."""


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


@app.command("prepare")
def prepare(
    name: Annotated[str, typer.Argument(help="A data set; `awase list datasets` names them.")],
    root: Annotated[Path, typer.Option("--root", help="Folder of the data set as it is published.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to; default prepared/NAME.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--option", help="key=value for the layout (repeatable).")
    ] = None,
    drop_missing: Annotated[bool, typer.Option("--drop-missing", help="Leave out rows without any file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Read a data set in its official layout; write manifest.csv and dataset.json, print what was found."""
    from awase.data.prepare import prepare as write

    description = write(name, root, out, _pairs(options or []), drop_missing=drop_missing)
    folder = Path("prepared") / name if out is None else out
    if as_json:
        print_json(description | {"folder": str(folder)})
    else:
        print("\n".join(prepared_lines(description, folder)))


def _pairs(assignments: list[str]) -> dict[str, str]:
    pairs = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not key or not equals:
            raise ValueError(f"--option {assignment!r} is no assignment; write key=value, for example seed=1.")
        pairs[key] = value
    return pairs


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
