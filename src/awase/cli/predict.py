"""`awase predict`: a finished run on new rows."""

from pathlib import Path
from typing import Annotated

import typer


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, or of a saved model.")],
    manifest: Annotated[Path, typer.Argument(help="Table with the columns of the run's modalities; no labels needed.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="The cache the run used.")] = None,
) -> None:
    """Predict new rows; a modality may be missing from some rows, or its column from the table.

    The file has one row per predicted row: its id, the index and the name of its class (with several labels 0 or 1 per
    class, and the names), and the logits.
    """
    from awase.runner.loaded import load_model
    from awase.statistics import write_predictions

    model = load_model(run, device=device, cache=cache)
    predictions = model.predict(manifest)
    write_predictions(out, predictions, classes=model.classes)
    print(f"{len(predictions)} rows: {out}")
