"""Learning curves as they grow: `metrics.jsonl` and TensorBoard files beside the record."""

import json
import os
from pathlib import Path
from typing import IO

from awase.config import StageConfig
from awase.records import Epoch
from awase.training.interrupts import interrupts_held


class Tracker:
    """Writes every epoch of every stage of one run, each once, also when a run is continued."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        from torch.utils.tensorboard import SummaryWriter

        self._lines: IO[str] = (folder / "metrics.jsonl").open("w", encoding="utf-8")
        for old in (folder / "tensorboard").glob("events.*"):
            old.unlink()
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def on_epoch(self, stage_hash: str, stage: StageConfig, epoch: Epoch) -> None:
        """Takes one point of a curve."""
        line = {"stage": stage.name, "hash": stage_hash, **epoch.model_dump()}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        with interrupts_held():
            for name in ("train_loss", "val_loss", "val_metric", "learning_rate"):
                self._board.add_scalar(f"{stage.name}/{name}", getattr(epoch, name), epoch.epoch)

    def close(self) -> None:
        """Ends both files."""
        self._lines.close()
        self._board.close()
