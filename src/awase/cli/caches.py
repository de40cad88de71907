"""`awase cache`: the store of trained stages."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Look after the store of trained stages.")
Cache = Annotated[Path | None, typer.Option(help="The cache; default the user's.")]


@app.command("list")
def show(cache: Cache = None) -> None:
    """List the stages in the store with their sizes."""
    store = _store(cache)
    sizes = store.sizes()
    for address, size in sizes.items():
        stored = store.find(address)
        about = "unfinished" if stored is None else f"{stored.facts['name']} of {'+'.join(stored.facts['modalities'])}"
        print(f"{address}  {size / 2**20:8.1f} MiB  {about}")
    print(f"{len(sizes)} stages, {sum(sizes.values()) / 2**20:.1f} MiB in {store.root}")


@app.command("prune")
def prune(
    cache: Cache = None,
    keep: Annotated[list[Path] | None, typer.Option(help="Keep the stages of the runs below this folder.")] = None,
) -> None:
    """Remove every stage that no run below the --keep folders refers to."""
    from awase.records import find_records

    if not keep:
        raise ValueError("Name the runs whose stages shall stay: --keep FOLDER (repeatable).")
    needed = {stage.hash for record in find_records(keep) for stage in record.stages}
    store = _store(cache)
    removed = [address for address in store.sizes() if address not in needed]
    for address in removed:
        store.remove(address)
    print(f"{len(removed)} stages removed, {len(needed)} kept.")


def _store(cache: Path | None):  # type: ignore[no-untyped-def]
    from awase.config import Runtime
    from awase.training.store import StageStore

    return StageStore(cache or Runtime().cache)
