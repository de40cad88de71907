"""`awase data`: look at a table before training on it."""

import json
from pathlib import Path
from typing import Annotated

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
    from awase.data.check import check_manifest, describe
    from awase.runner.overrides import apply_overrides

    empty = Experiment(name="check", data=DataConfig(manifest=manifest), methods=())
    facts = check_manifest(apply_overrides(empty, assignments or []).data)
    print(json.dumps(facts) if as_json else describe(facts))
