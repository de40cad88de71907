"""`awase data flow`: optical flow for films that come without."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from awase.cli.output import print_json

_SHOWN = 20


def flow(
    manifest: Annotated[Path, typer.Argument(help="Table with a column of films.")],
    out: Annotated[Path, typer.Option(help="Folder for the flow, one entry per row.")],
    column: Annotated[str, typer.Option(help="The column of films (video files, or folders of frames).")] = "video",
    method: Annotated[str, typer.Option(help="dis (fast) or tvl1 (slow).")] = "dis",
    bound: Annotated[float, typer.Option(help="Pixels per frame that become black and white.")] = 20.0,
    form: Annotated[str, typer.Option(help="jpg: pictures in u/ and v/; npy: one array per film (large).")] = "jpg",
    short_side: Annotated[int | None, typer.Option(help="Scale frames to this shorter side first.")] = None,
    start_column: Annotated[str | None, typer.Option(help="Column of the start in seconds.")] = None,
    end_column: Annotated[str | None, typer.Option(help="Column of the end in seconds.")] = None,
    workers: Annotated[int | None, typer.Option(help="Films at a time; default one per core, at most 8.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compute the optical flow of every film of a table; the same command continues where it was interrupted.

    Beside the table, TABLE_flow.csv is written: the same rows with a column `flow`. Films that cannot be decoded are
    listed and have an empty cell.
    """
    from awase.data.flow_manifest import read_flow_columns, write_flow_manifest
    from awase.data.flow_table import FlowSettings, compute_table_flow, default_workers, films_of

    settings = FlowSettings(method, bound, short_side, form)
    columns = read_flow_columns(manifest)
    films = films_of(manifest, column, out, form, start=start_column, end=end_column)
    threads = default_workers() if workers is None else workers
    try:
        facts = compute_table_flow(films, out, settings, workers=threads, progress=None if quiet else _tell)
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from error
    there = [film.out if film.out.exists() else None for film in films]
    facts["manifest"] = str(write_flow_manifest(manifest, columns, there))
    if as_json:
        print_json(facts)
    else:
        print(_described(facts))
    if facts["computed"] + facts["skipped"] == 0:
        raise typer.Exit(1)


def _tell(what: str, done: int, total: int) -> None:
    """A line for every hundredth part."""
    if done == total or done % max(1, total // 100) == 0:
        print(f"{what}: {done} of {total} films", file=sys.stderr)


def _described(facts: dict[str, Any]) -> str:
    lines = [
        f"{facts['films']} films: {facts['computed']} computed, {facts['skipped']} were there, "
        f"{len(facts['broken'])} without flow"
    ]
    lines += [f"without flow: {film['id']} ({film['reason']})" for film in facts["broken"][:_SHOWN]]
    if len(facts["broken"]) > _SHOWN:
        lines.append(f"and {len(facts['broken']) - _SHOWN} more, which --json lists")
    return "\n".join([*lines, f"Table with the column flow: {facts['manifest']}"])
