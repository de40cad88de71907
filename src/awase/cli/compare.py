"""`awase compare`: two runs, paired by sample."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run, or of a method with several seeds.")],
    second: Annotated[Path, typer.Argument(help="The run or method to compare it with.")],
    metric: Annotated[str, typer.Option(help="accuracy, f1_micro or f1_macro.")] = "accuracy",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare two runs on the samples both predicted: difference, interval, and what could have been seen."""
    from awase.report import compare_folders

    result = compare_folders(first, second, metric)
    print(json.dumps(asdict(result)) if as_json else str(result))
