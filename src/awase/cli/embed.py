"""`awase embed`: a table into a collection that can be searched."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def embed(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run in a joint space.")],
    table: Annotated[Path, typer.Argument(help="Table with the columns of the run's modalities, or some of them.")],
    out: Annotated[Path, typer.Option(help="Folder of the collection.")],
    under: Annotated[
        str, typer.Option(help="The adapters to embed under, like audio+text; shared: the space of all modalities.")
    ] = "shared",
    id_column: Annotated[
        str | None, typer.Option(help="Column of the ids; default: id, else the row's number.")
    ] = None,
    start_column: Annotated[
        str | None, typer.Option(help="Column of the start in seconds; default: as in the run's data.")
    ] = None,
    end_column: Annotated[str | None, typer.Option(help="Column of the end in seconds.")] = None,
    shard_rows: Annotated[int, typer.Option(help="Rows that are embedded and written at a time.")] = 4096,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="The cache the run used.")] = None,
) -> None:
    """Embed every row of a table with a trained joint space, into a folder that `awase search` looks in.

    A modality may be missing from some rows, or its column from the table. Interrupted, the same command goes on; a
    folder that holds another table, model or key is refused.
    """
    from awase.runner.collection_embed import TableColumns, embed_table
    from awase.runner.space import Space

    space = Space.from_pretrained(run, device=device, cache=cache)
    columns = TableColumns(id_column, start_column, end_column)
    header = embed_table(
        space,
        run,
        table,
        out,
        columns=columns,
        under=under,
        shard_rows=shard_rows,
        on_shard=lambda done, total: print(f"{done} of {total} rows", file=sys.stderr),
    )
    print(f"{header.num_items} items: {out}")
