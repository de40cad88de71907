"""`awase compare`: two runs, paired by sample."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awase.cli.output import print_json

if TYPE_CHECKING:
    from awase.report.groups import Group


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run, or of a method with several seeds.")],
    second: Annotated[Path, typer.Argument(help="The run or method to compare it with.")],
    metric: Annotated[
        str | None, typer.Option(help="accuracy (default) or f1_micro; of retrieval R@1, R@5, ...; default three.")
    ] = None,
    split: Annotated[str, typer.Option(help="Retrieval: test, val, or an evaluation set.")] = "test",
    direction: Annotated[
        list[str] | None, typer.Option(help="Retrieval: text->video, ... (repeatable); default all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare two runs on the samples both predicted: difference, interval, and what could have been seen."""
    from awase.report import load
    from awase.report.groups import Group

    groups = [Group(str(folder), tuple(load([folder]))) for folder in (first, second)]
    retrieves = {run.record.retrieval is not None for group in groups for run in group.runs}
    if len(retrieves) > 1:
        raise ValueError(f"{first} and {second} do not have one task: one retrieves, the other decides.")
    if retrieves == {True}:
        _compare_spaces(groups[0], groups[1], metric, split, tuple(direction or ()), as_json)
        return
    if direction or split != "test":
        raise ValueError("--direction and --split are for retrieval runs; these decide between classes.")
    _compare_predictions(groups[0], groups[1], metric or "accuracy", as_json)


def _compare_predictions(first: "Group", second: "Group", metric: str, as_json: bool) -> None:
    from awase.statistics import compare as compare_predictions

    found = []
    for group in (first, second):
        predictions = group.predictions()
        if predictions is None:
            raise FileNotFoundError(f"A run below {group.method} has no predictions.parquet; run it again.")
        found.append(predictions)
    difference, left_out = compare_predictions(found[0], found[1], metric)
    if as_json:
        print_json({"metric": metric, "left_out": left_out, **asdict(difference)})
        return
    print(f"{first.method} against {second.method}, {metric}: {difference.sentence}")
    print(f"Only the first is right: {difference.a_only}; only the second: {difference.b_only}.")
    if left_out:
        print(f"{left_out} samples that only one of them predicted were left out.")


def _compare_spaces(
    first: "Group", second: "Group", metric: str | None, split: str, directions: tuple[str, ...], as_json: bool
) -> None:
    from awase.report.retrieval_compare import compare_spaces
    from awase.report.retrieval_numbers import KS

    found = compare_spaces(first, second, split, directions, KS if metric is None else (_k(metric),))
    if as_json:
        print_json({"split": split, "directions": [asdict(one) for one in found]})
        return
    print(f"{first.method} against {second.method}, {split}")
    for one in found:
        for k, difference in one.differences.items():
            print(f"{one.direction}, R@{k}: {difference.sentence}")
            print(f"    Only the first finds it: {difference.a_only}; only the second: {difference.b_only}.")
        if one.left_out:
            print(f"{one.direction}: {one.left_out} queries that only one of them asked were left out.")
    print()
    for one in found:
        print(one.protocol)


def _k(metric: str) -> int:
    digits = metric.removeprefix("R@")
    if not metric.startswith("R@") or not digits.isdecimal() or int(digits) == 0:
        raise ValueError(f"Retrieval runs are compared by R@1, R@5 or another R@k; given: {metric!r}.")
    return int(digits)
