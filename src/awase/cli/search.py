"""`awase search`: what in a collection is nearest to a text or a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awase.vocabulary import SHARED_NAME

if TYPE_CHECKING:
    from awase.runner.collection import Found


def search(
    query: Annotated[str, typer.Argument(help="A text, or a file.")],
    collection: Annotated[Path, typer.Argument(help="Folder that `awase embed` wrote.")],
    of: Annotated[
        str | None, typer.Option("--from", help="The modality of the query; needed where several can be meant.")
    ] = None,
    within: Annotated[
        str | None, typer.Option("--in", help="Modalities to search in, like audio+video; default: all others.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10,
    run: Annotated[Path | None, typer.Option(help="The model, where it is no longer where it was.")] = None,
    index: Annotated[str, typer.Option(help="exact, faiss, or auto: faiss where it is installed.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="The cache the run used.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Search a collection: ids, scores and times, best first. Every item is compared; nothing is approximate.

    The query is embedded under the key that the collection was embedded under.
    """
    from awase.runner.collection import Collection

    opened = Collection.open(collection)
    opened.space(run, device=device, cache=cache)
    names = None if within is None else within.split("+")
    found = opened.search(query, of=of, within=names, k=k, index=index)
    if as_json:
        from awase.cli.output import print_json

        print_json(document(found, k))
        return
    for hit in found.hits:
        print(f"{hit.score:10.4f}  {hit.item.id}{span(hit.item.start_s, hit.item.end_s)}")
    print("\n".join(remarks(found, k)))


def span(start_s: float | None, end_s: float | None) -> str:
    """The part of its files that an item means, empty where it is the whole."""
    if start_s is None and end_s is None:
        return ""
    return f"  {0 if start_s is None else start_s:g}-{'end' if end_s is None else f'{end_s:g}'} s"


def remarks(found: "Found", k: int) -> list[str]:
    """What the numbers are, and what was not compared."""
    compared = found.num_items - found.missing
    name = "cosine" if found.score == "cosine" else "dot product"
    under = "" if found.under == SHARED_NAME else f" under {found.under}"
    said = [
        f"{name} of {found.query} with {'+'.join(found.gallery)}{under}; {compared} of {found.num_items} items compared"
    ]
    if found.missing:
        said.append(f"{found.missing} items lack what was searched in")
    if k > compared:
        said.append(f"{k} were asked for; these are all")
    return said


def document(found: "Found", k: int) -> dict[str, Any]:
    """The same as a JSON document."""
    return {
        "query": found.query,
        "gallery": list(found.gallery),
        "score": found.score,
        "under": found.under,
        "items": found.num_items,
        "missing": found.missing,
        "asked": k,
        "hits": [
            {
                "id": hit.item.id,
                "row": hit.row,
                "score": hit.score,
                "start_s": hit.item.start_s,
                "end_s": hit.item.end_s,
                "cells": hit.item.cells,
            }
            for hit in found.hits
        ],
    }
