"""Which clips a data set has: fingerprints of what is learnt from and of everything, and counts for the record."""

import hashlib
import json
from typing import Any

import numpy as np

from awase.config import HowTo100MConfig
from awase.data.features.clip_source import Clips, EvaluationClips
from awase.data.features.evaluation_store import caption_ceilings
from awase.data.features.shared_videos import shared_videos
from awase.data.features.store import FeatureStore
from awase.data.features.token_cache import TokenCache

MEASURED = ("evaluation", "evaluation_captions")
"""The settings that training does not read: what is measured at the end."""


def training_fingerprint(store: FeatureStore, config: HowTo100MConfig, train: np.ndarray, validation: Clips) -> str:
    """Of what a stage learns from and is chosen by: store, settings, the videos of train and the clips of val."""
    settings = config.model_dump(mode="json", exclude={"store", *MEASURED})
    digest = hashlib.sha256(json.dumps([store.fingerprint, settings]).encode())
    for part in (train, validation.video, validation.start_ms, validation.end_ms):
        digest.update(part.astype("<i8").tobytes())
    return digest.hexdigest()


def fingerprint_of(config: HowTo100MConfig, evaluation: dict[str, EvaluationClips], training: str) -> str:
    """Of everything: what `training_fingerprint` gave, and the evaluation sets."""
    sets = {name: held.store.fingerprint for name, held in evaluation.items()}
    return hashlib.sha256(json.dumps([training, config.evaluation_captions, sets]).encode()).hexdigest()


def summary_of(
    store: FeatureStore,
    config: HowTo100MConfig,
    splits: dict[str, np.ndarray],
    evaluation: dict[str, EvaluationClips],
    cached: TokenCache | None,
    validation: Clips,
) -> dict[str, Any]:
    """Counts of what there is and what was left out, fit for JSON."""
    reports = store.report.values()
    excluded = [entry for report in reports for entry in report.get("excluded", [])]
    counts = {split: {"count": len(rows), "classes": {}} for split, rows in splits.items()}
    counts["train"]["clips_per_epoch"] = len(splits["train"]) * config.clips_per_video
    videos = {name: held.store.videos for name, held in evaluation.items()}
    reasons: dict[str, int] = {}
    for entry in excluded:
        reason = entry["reason"].split(" (")[0]
        reasons[reason] = reasons.get(reason, 0) + 1
    return {
        "dataset": "howto100m",
        "rows": sum(len(rows) for rows in splits.values()),
        "videos": store.num_videos,
        "captions": store.num_captions,
        "captions_without_known_words": None if cached is None else cached.unknown,
        "task": "retrieval",
        "splits": counts,
        "validation": {"made": "carved", "videos": len(np.unique(validation.video)), "by": "group"},
        "shared_between_splits": {"videos": shared_videos(store.ids, validation.video, videos, store.folder)},
        "excluded": {"count": len(excluded), "by_reason": reasons},
        "missing": {
            name: {"count": sum(len(report.get(f"without_{name}", [])) for report in reports)}
            for name in (*store.dims, "audio")
        },
        "evaluation": {
            name: held.store.description | caption_ceilings(list(held.captions), held.clip.tolist())
            for name, held in evaluation.items()
        },
    }
