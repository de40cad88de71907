"""`awase cache`: the store of trained stages."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awase.cli.group import Group

if TYPE_CHECKING:
    from awase.training.store import StageStore

app = typer.Typer(cls=Group, help="Look after the store of trained stages.")
CURVES_NAME = "metrics.jsonl"
Cache = Annotated[Path | None, typer.Option(help="The cache; default the user's.")]


@app.command("list")
def show(cache: Cache = None) -> None:
    """List the stages in the store with their sizes."""
    store = _store(cache)
    sizes = store.sizes()
    for address, size in sizes.items():
        print(f"{address}  {size / 2**20:8.1f} MiB  {_about(store.folder(address))}")
    print(f"{len(sizes)} stages, {sum(sizes.values()) / 2**20:.1f} MiB in {store.root}")


@app.command("prune")
def prune(
    cache: Cache = None,
    keep: Annotated[list[Path] | None, typer.Option(help="Keep the stages of the runs below this folder.")] = None,
) -> None:
    """Remove every stage that no run below the --keep folders refers to, and that no process works on."""
    from filelock import Timeout

    needed = {address for folder in keep or [] for address in _needed(folder)}
    if not needed:
        raise ValueError(
            "Name the runs whose stages shall stay: --keep FOLDER (repeatable)"
            + (f"; no run was found in {', '.join(map(str, keep))}." if keep else ".")
        )
    store = _store(cache)
    removed = in_use = 0
    for address in store.sizes().keys() - needed:
        try:
            with store.lock(address).acquire(timeout=0):
                store.remove(address)
                removed += 1
        except Timeout:
            in_use += 1
    print(f"{removed} stages removed, {len(store.sizes())} kept" + (f", {in_use} of them in use." if in_use else "."))


def _needed(folder: Path) -> Iterator[str]:
    """The stages of the finished runs below the folder, and those that unfinished ones have begun."""
    from awase.records import RECORD_NAME, read_record

    for file in folder.rglob("config.json"):
        record = read_record(file.parent) if (file.parent / RECORD_NAME).is_file() else None
        if record is not None and record.status == "done":
            yield from (stage.hash for stage in record.stages)
        elif (file.parent / CURVES_NAME).is_file():
            lines = (file.parent / CURVES_NAME).read_text(encoding="utf-8").splitlines()
            yield from (json.loads(line)["hash"] for line in lines)


def _about(folder: Path) -> str:
    file = folder / "stage.json"
    if not file.is_file():
        return "unfinished"
    facts = json.loads(file.read_text(encoding="utf-8"))
    return f"{facts['name']} of {'+'.join(facts['modalities'])}"


def _store(cache: Path | None) -> "StageStore":
    from awase.config import Runtime
    from awase.training.store import StageStore

    return StageStore(cache or Runtime().cache)
