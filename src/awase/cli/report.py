"""`awase report`: records in, a table or a page out."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished runs, at any depth.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; default standard output (HTML: report.html).")
    ] = None,
    format: Annotated[str, typer.Option(help="html, md, latex or json.")] = "html",
) -> None:
    """Write a report of finished runs; it reads their records and nothing else."""
    from awase import report as pages
    from awase.files import write_text

    formats = {
        "html": pages.render_html,
        "md": pages.render_markdown,
        "latex": pages.render_latex,
        "json": pages.render_json,
    }
    if format not in formats:
        raise ValueError(f"There is no format {format!r}; valid names: {', '.join(formats)}.")
    records = pages.load(folders)
    if not records:
        raise FileNotFoundError(f"No record was found in {', '.join(map(str, folders))}; finished runs have one each.")
    text = formats[format](records)
    target = Path("report.html") if out is None and format == "html" else out
    if target is None:
        print(text)
    else:
        write_text(target, text)
        print(target)
