"""Finds the runs a report is made of."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from awase.records import RECORD_NAME, Record, read_record
from awase.statistics import (
    PREDICTIONS_NAME,
    RANKS_NAME,
    STREAM_NAME,
    Predictions,
    RankTable,
    StreamHits,
    WorstQueries,
    read_hits,
    read_predictions,
    read_ranks,
    read_worst,
)


@dataclass(frozen=True)
class Run:
    """A record and the folder it lies in; without a folder there are no predictions, so no paired intervals."""

    record: Record
    folder: Path | None = None

    def test_predictions(self) -> Predictions | None:
        """What the run said about the test split; None where the file is not there."""
        if self.folder is None or not (self.folder / PREDICTIONS_NAME).is_file():
            return None
        return read_predictions(self.folder).of_split("test")

    def stream_hits(self) -> StreamHits | None:
        """Which test rows a run on a stream got right after every stage; None where the file is not there."""
        if self.folder is None or not (self.folder / STREAM_NAME).is_file():
            return None
        return read_hits(self.folder)

    def ranks(self) -> RankTable | None:
        """At which rank every query of a retrieval run found its item; None where the file is not there."""
        if self.folder is None or not (self.folder / RANKS_NAME).is_file():
            return None
        return read_ranks(self.folder)

    def worst(self) -> list[WorstQueries]:
        """The worst queries of a retrieval run; none where the file is not there."""
        return [] if self.folder is None else read_worst(self.folder)


def load(folders: Iterable[Path]) -> list[Run]:
    """Returns the runs at or below `folders`, each once, in the order of their paths.

    Raises `FileNotFoundError` for a folder that does not exist and where there is no record at all.
    """
    given = list(folders)
    for folder in given:
        if not folder.exists():
            raise FileNotFoundError(f"{folder} does not exist; name the folder of a run or one that holds runs.")
    paths = {path.resolve() for folder in given for path in folder.rglob(RECORD_NAME)}
    if not paths:
        names = ", ".join(str(folder) for folder in given) or "no folder"
        raise FileNotFoundError(f"There is no {RECORD_NAME} at or below {names}: has a run finished there?")
    return [Run(read_record(path), path.parent) for path in sorted(paths)]
