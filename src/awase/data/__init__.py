"""From files or generators to batches: `open_dataset` gives a `Dataset`, its `loader` gives batches."""

from awase.data.check import check_manifest
from awase.data.dataset import Dataset
from awase.data.layouts import LAYOUTS
from awase.data.loader import BatchLoader
from awase.data.open import SOURCES, open_dataset, open_source
from awase.data.prepared import prepared_data
from awase.data.resolved import inferred
from awase.data.source import MediaError, Rows, Source

__all__ = [
    "LAYOUTS",
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
    "prepared_data",
]
