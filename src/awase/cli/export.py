"""`awase export`: one key of a trained model as files for elsewhere."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[str, typer.Argument(help="Folder of a finished run or of a saved model, or its name on the Hub.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must not be there yet.")],
    modality: Annotated[
        list[str] | None, typer.Option(help="A modality (repeatable); default: all that the key has.")
    ] = None,
    under: Annotated[
        str | None, typer.Option(help="The key, audio+video, or shared; default: shared, of a classifier its adapters.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="onnx, torch, peft or plain.")] = "onnx",
    cache: Annotated[Path | None, typer.Option(help="The cache the run used.")] = None,
) -> None:
    """Write a trained model, with the adapters of one key folded in, as graphs or as a plain model; or the adapters.

    onnx and torch: a graph per modality, from its input to its embedding or logits, for any number of rows, with a
    .json beside it that says what it eats. plain: a model folder without adapters. peft: a folder per modality.
    """
    from awase.runner.exported import export_model

    files = export_model(run, out, form=form, modalities=tuple(modality or ()), under=under, cache=cache)
    print(f"{out}: {', '.join(files)}")
