"""`awase merge`: several keys of a run as one, if validation agrees."""

from pathlib import Path
from typing import Annotated

import typer

from awase.cli.output import print_json


def merge(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run with adapters of combinations.")],
    keys: Annotated[str, typer.Option(help="The keys, separated by commas: audio+text,text+video.")],
    out: Annotated[Path, typer.Option(help="Model folder to write; it must not be there yet.")],
    rule: Annotated[str, typer.Option(help="linear, svd or ties.")] = "linear",
    weight: Annotated[
        list[str] | None, typer.Option(help="audio+text=2: a key's weight, 1 by default (repeatable).")
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Cut to this rank; svd: default the largest of the keys.")] = None,
    kept: Annotated[float, typer.Option(help="ties: the share of entries that is kept.")] = 0.2,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="The cache the run used.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Merge keys of a run into one, and write it unless validation finds it worse than the shared space.

    Never looks at test. The folder holds the shared space and the merged key.
    """
    from awase.runner.merged_key import merge_run

    found = merge_run(
        run,
        [one.strip() for one in keys.split(",")],
        out,
        rule=rule,
        weights=dict(_weight(text) for text in weight or ()),
        rank=rank,
        kept=kept,
        device=device,
        cache=cache,
    )
    if as_json:
        print_json({"folder": str(out), **found.to_dict()})
        return
    print(f"{out}: {found.key}, merged from {', '.join(found.keys)} by {found.rule}, rank {found.rank}")
    print(f"{found.metric} on validation, mean over {', '.join(found.directions)}:")
    print(f"    merged {found.merged:.4f}, shared {found.shared:.4f}, each its own key {found.own:.4f}")
    print(f"    merged - shared: {found.against_shared.sentence}")
    print(f"    merged - own keys: {found.against_own.sentence}")


def _weight(text: str) -> tuple[str, float]:
    key, _, value = text.partition("=")
    try:
        return key, float(value)
    except ValueError:
        raise ValueError(f"A weight is written audio+text=2; given: {text!r}.") from None
