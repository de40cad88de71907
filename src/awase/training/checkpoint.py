"""Checkpoints of an unfinished stage: one file, written in the background, renamed when whole."""

import json
import os
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from awase.files import whole_file
from awase.training.interrupts import interrupts_held


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and a JSON document (floats survive it exactly)."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def of(self, kind: str) -> dict[str, Tensor]:
        """The tensors named `kind|name`, by name."""
        start = f"{kind}|"
        return {key.removeprefix(start): value for key, value in self.tensors.items() if key.startswith(start)}


class CheckpointWriter:
    """Writes checkpoints to one file in a background thread; the caller waits only while its tensors are copied."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Copies the tensors and returns; raises here what went wrong with the checkpoint before."""
        self.wait()
        copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        with interrupts_held():
            self._pending = self._pool.submit(write_checkpoint, self.path, copies, dict(facts))

    def wait(self) -> None:
        """Returns when the last checkpoint is on disk; raises `OSError` when it could not be written."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        """Waits for the last checkpoint and ends the thread."""
        try:
            self.wait()
        finally:
            self._pool.shutdown()


def write_checkpoint(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Writes a checkpoint under a temporary name and renames it."""
    write_tensors(path, tensors, {"facts": json.dumps(facts)})


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file whole; raises `OSError` with a sentence when it cannot be written."""
    with whole_file(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint in `path`, or None where there is none; raises `ValueError` for a file that is no checkpoint."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Checkpoint(tensors, json.loads((file.metadata() or {})["facts"]))
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged or no checkpoint; remove it to train the stage from its beginning."
        ) from error
