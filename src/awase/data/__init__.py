"""From files or generators to batches: `open_dataset` gives a `Dataset`, its `loader` gives batches."""

from awase.data.check import check_manifest
from awase.data.dataset import Dataset
from awase.data.loader import BatchLoader
from awase.data.open import SOURCES, open_dataset, open_source
from awase.data.resolved import inferred
from awase.data.source import MediaError, Rows, Source

__all__ = [
    "SOURCES",
    "BatchLoader",
    "Dataset",
    "MediaError",
    "Rows",
    "Source",
    "check_manifest",
    "inferred",
    "open_dataset",
    "open_source",
]
