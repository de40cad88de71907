"""Features of whole videos with captions, in the manner of HowTo100M: import, store, clips, batches."""

from awase.data.features.captions import Captions, caption_source, checked_captions
from awase.data.features.dataset import ClipDataset, open_howto100m
from awase.data.features.evaluation_store import (
    EvaluationClip,
    EvaluationStore,
    caption_ceilings,
    write_evaluation_store,
)
from awase.data.features.importer import Published, import_howto100m
from awase.data.features.shard_writer import ShardWriter, VideoContent
from awase.data.features.store import FeatureStore

__all__ = [
    "Captions",
    "ClipDataset",
    "EvaluationClip",
    "EvaluationStore",
    "FeatureStore",
    "Published",
    "ShardWriter",
    "VideoContent",
    "caption_ceilings",
    "caption_source",
    "checked_captions",
    "import_howto100m",
    "open_howto100m",
    "write_evaluation_store",
]
