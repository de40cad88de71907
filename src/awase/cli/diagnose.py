"""`awase diagnose`: which modality a finished run uses, which it ignores, and what to try."""

from pathlib import Path
from typing import Annotated

import typer

from awase.cli.output import print_json


def diagnose(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    split: Annotated[str, typer.Option(help="val, or test (the look is written into the record).")] = "val",
    out: Annotated[Path | None, typer.Option(help="Write a page with figures to this file.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what diagnosis.json holds already.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="The cache the run used.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say which modality a run uses, ignores, under-trains or is harmed by, with the numbers, and what to try."""
    from awase.files import write_text
    from awase.report import render_diagnosis, render_diagnosis_text
    from awase.runner.diagnose import diagnose_run

    found = diagnose_run(run, split, device=device, cache=cache, again=again)
    if out is not None:
        write_text(out, render_diagnosis(found))
    if as_json:
        print_json({"run": str(run), **found.model_dump(mode="json")})
        return
    print(render_diagnosis_text(found))
    if out is not None:
        print(f"\n{out}")
