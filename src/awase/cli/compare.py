"""`awase compare`: two runs, paired by sample."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from awase.cli.output import print_json


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run, or of a method with several seeds.")],
    second: Annotated[Path, typer.Argument(help="The run or method to compare it with.")],
    metric: Annotated[str, typer.Option(help="accuracy or f1_micro.")] = "accuracy",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare two runs on the samples both predicted: difference, interval, and what could have been seen."""
    from awase.report import load
    from awase.report.groups import Group
    from awase.statistics import compare as compare_predictions

    found = []
    for folder in (first, second):
        predictions = Group(str(folder), tuple(load([folder]))).predictions()
        if predictions is None:
            raise FileNotFoundError(f"A run below {folder} has no predictions.parquet; run it again.")
        found.append(predictions)
    difference, left_out = compare_predictions(found[0], found[1], metric)
    if as_json:
        print_json({"metric": metric, "left_out": left_out, **asdict(difference)})
        return
    print(f"{first} against {second}, {metric}: {difference.sentence}")
    print(f"Only the first is right: {difference.a_only}; only the second: {difference.b_only}.")
    if left_out:
        print(f"{left_out} samples that only one of them predicted were left out.")
