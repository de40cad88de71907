"""`awase data`: look at a table before training on it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Look at data before training on it.")


@app.callback()
def _data() -> None:
    """Look at data before training on it."""


@app.command("check")
def check(
    manifest: Annotated[Path, typer.Argument(help="A CSV, TSV, JSON-lines or Parquet table.")],
    assignments: Annotated[list[str] | None, typer.Option("--set", help="data.field=value (repeatable).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Count rows per split and class, list unreadable files, ids and groups shared between splits, durations."""
    from awase.config import DataConfig, Experiment
    from awase.data import check_manifest
    from awase.runner.overrides import apply_overrides

    empty = Experiment(name="check", data=DataConfig(manifest=manifest), methods=())
    facts = check_manifest(apply_overrides(empty, assignments or []).data)
    print(json.dumps(facts) if as_json else _described(facts))
    if facts["problems"]:
        raise typer.Exit(2)


def _described(facts: dict[str, Any]) -> str:
    lines = [f"{facts['rows']} rows, {facts['task'].replace('_', ' ')}"]
    lines += [f"{name}: {setting['kind']} from column {setting['column']!r}" for name, setting in facts["inputs"].items()]
    for split, counts in facts["splits"].items():
        classes = ", ".join(f"{name} {count}" for name, count in counts["classes"].items())
        lines.append(f"{split}: {counts['count']} rows ({classes})")
    for name, found in facts["unreadable"].items():
        reasons = "; ".join(f"{reason}: {count}" for reason, count in found["by_reason"].items())
        lines.append(f"unreadable {name}: {found['count']}" + (f" ({reasons})" if reasons else ""))
    for name, spread in facts["durations_s"].items():
        if spread is not None:
            lines.append(f"seconds of {name}: {spread['min']:.2f} to {spread['max']:.2f}, median {spread['median']:.2f}")
    for what, shared in facts["shared_between_splits"].items():
        lines.append(f"{what} in more than one split: {'not known' if shared is None else shared['count']}")
    lines += [f"PROBLEM: {sentence}" for sentence in facts["problems"]] or ["A run would start."]
    return "\n".join(lines)
