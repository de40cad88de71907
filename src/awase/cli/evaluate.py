"""`awase evaluate`: a finished run on one of its splits, whole or without some modalities."""

from pathlib import Path
from typing import Annotated

import typer

from awase.cli.output import print_json


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    without: Annotated[list[str] | None, typer.Option(help="Take this modality away (repeatable).")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="The cache the run used.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a finished run again; a look at the test split is written into its record."""
    from awase.runner.again import evaluate_run

    metrics = evaluate_run(run, split, tuple(without or ()), device=device, cache=cache)
    if as_json:
        print_json({"run": str(run), "split": split, "without": without or [], "metrics": metrics})
        return
    for name, value in metrics.items():
        print(f"{name:>12}  {value:.4f}")
