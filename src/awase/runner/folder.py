"""The folder of one run: who works in it, which configuration it belongs to, and whether it is done."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from awase.files import write_text
from awase.records import RECORD_NAME, Record, read_record


class RefusedError(ValueError):
    """The request cannot be carried out as it stands; the message says what would work."""


def run_folder(out: Path, method: str, seed: int, fold: int | None) -> Path:
    """`<out>/<method>/seed-<n>[/fold-<k>]`."""
    folder = out / method / f"seed-{seed}"
    return folder if fold is None else folder / f"fold-{fold}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; the lock is gone when the process is, however it ends.

    Raises `RefusedError` naming the process that holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    owner = folder / ".lock.pid"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        pid = owner.read_text().strip() if owner.is_file() else "unknown"
        raise RefusedError(
            f"{folder} is in use by another run (process {pid}); wait for it, or choose another folder with --out."
        ) from None
    try:
        owner.write_text(str(os.getpid()))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def claim(folder: Path, document: dict[str, Any]) -> Record | None:
    """The record of the finished run in `folder`, or None where there is still work to do.

    Writes `config.json` on the first call. Raises `RefusedError` when the folder belongs to another configuration,
    naming the first fields that differ.
    """
    file = folder / "config.json"
    if file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))
        if known != document:
            fields = ", ".join(sorted(differences(known, document))[:5])
            raise RefusedError(
                f"{folder} belongs to another configuration (it differs in {fields}); choose another folder with "
                "--out, or remove this one."
            )
    else:
        write_text(file, json.dumps(document, indent=1, sort_keys=True) + "\n")
    record = read_record(folder) if (folder / RECORD_NAME).is_file() else None
    return record if record is not None and record.status == "done" else None


def differences(a: Any, b: Any, path: str = "") -> set[str]:
    """The dotted paths at which two JSON documents differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = set(a) | set(b)
        absent = object()
        return {d for k in keys for d in differences(a.get(k, absent), b.get(k, absent), f"{path}.{k}" if path else k)}
    return set() if a == b else {path or "everything"}
