"""The stage store: every distinct stage is trained once, whichever method or run asks for it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from awase.files import write_text
from awase.training.checkpoint import write_tensors

FORMAT_VERSION = 1


@dataclass(frozen=True)
class StoredStage:
    """A finished stage: the tensors of the parts it trained, and what is known about its training."""

    hash: str
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class StageStore:
    """Folders `<root>/stages/<hash>/` with `model.safetensors`, `stage.json` and, while training, `checkpoint/`."""

    def __init__(self, cache: Path) -> None:
        self.root = cache / "stages"

    def folder(self, stage_hash: str) -> Path:
        """Where the stage of that hash lives."""
        return self.root / stage_hash

    def checkpoint_file(self, stage_hash: str) -> Path:
        """Where the unfinished stage of that hash keeps its checkpoint."""
        return self.folder(stage_hash) / "checkpoint" / "checkpoint.safetensors"

    def lock(self, stage_hash: str) -> FileLock:
        """A lock that one process holds while it trains the stage; another waits and then finds it finished."""
        self.root.mkdir(parents=True, exist_ok=True)
        return FileLock(self.root / f"{stage_hash}.lock")

    def find(self, stage_hash: str) -> StoredStage | None:
        """The finished stage of that hash, or None.

        Raises `ValueError` for another format version, another stage in its place, and weights that cannot be read.
        """
        description = self.folder(stage_hash) / "stage.json"
        if not description.is_file():
            return None
        facts = json.loads(description.read_text(encoding="utf-8"))
        if facts["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{description} has format version {facts['format_version']}, this awase reads {FORMAT_VERSION}; "
                "remove the folder to train the stage again."
            )
        if facts["hash"] != stage_hash:
            raise ValueError(f"{description} describes another stage; remove the folder to train this one again.")
        weights = self.folder(stage_hash) / "model.safetensors"
        try:
            return StoredStage(stage_hash, load_file(weights) if weights.is_file() else {}, facts)
        except SafetensorError as error:
            raise ValueError(f"{weights} is damaged ({error}); remove the folder to train the stage again.") from error

    def publish(self, stage_hash: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> StoredStage:
        """Writes a finished stage; `stage.json` comes last, so that its presence means the stage is whole."""
        folder = self.folder(stage_hash)
        folder.mkdir(parents=True, exist_ok=True)
        whole = {"format_version": FORMAT_VERSION, "hash": stage_hash, **facts}
        if tensors:
            write_tensors(folder / "model.safetensors", tensors)
        write_text(folder / "stage.json", json.dumps(whole, indent=1, allow_nan=False) + "\n")
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        return StoredStage(stage_hash, tensors, whole)

    def sizes(self) -> dict[str, int]:
        """Hash -> bytes on disk, for every stage in the store, finished or not."""
        if not self.root.is_dir():
            return {}
        folders = [path for path in sorted(self.root.iterdir()) if path.is_dir()]
        return {path.name: sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) for path in folders}

    def remove(self, stage_hash: str) -> None:
        """Removes a stage; the next run that needs it trains it again."""
        (self.folder(stage_hash) / "stage.json").unlink(missing_ok=True)  # first: half a stage is never found
        shutil.rmtree(self.folder(stage_hash), ignore_errors=True)
        (self.root / f"{stage_hash}.lock").unlink(missing_ok=True)
