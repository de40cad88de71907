"""Made-up runs that look like real ones: records, and predictions beside them."""

from pathlib import Path
from typing import Any

import numpy as np

from awase.records import Epoch, Metric, Record, StageRecord, write_record
from awase.statistics import Predictions, write_predictions

CLASSES = ("rain", "train", "violin", "dog", "speech")
METHODS = {
    "audio": (0.58, ("audio",)),
    "video": (0.52, ("video",)),
    "joint": (0.63, ("joint",)),
    "frozen_linear": (0.64, ("audio", "video", "linear")),
    "ume": (0.68, ("audio", "video", "ensemble")),
    "ume_full": (0.69, ("audio", "video", "joint")),
    "mmlora": (0.72, ("audio", "video", "adapters")),
}


def make_curve(level: float, seed: int, epochs: int = 11) -> tuple[Epoch, ...]:
    rng = np.random.default_rng([seed, int(1000 * level)])
    values = level - 0.4 * np.exp(-np.arange(epochs) / 3) + 0.01 * rng.normal(size=epochs)
    return tuple(
        Epoch(
            epoch=k,
            train_loss=float(1.6 * np.exp(-k / 5)),
            val_loss=float(0.7 + np.exp(-k / 4)),
            val_metric=float(value),
            learning_rate=1e-3,
            seconds=0.7,
        )
        for k, value in enumerate(values)
    )


def make_stage(name: str, level: float, seed: int, owner: str) -> StageRecord:
    shared = name in ("audio", "video")
    curve = () if name == "ensemble" else make_curve(level, seed)
    modalities = (name,) if shared else ("audio", "video")
    return StageRecord(
        name=name,
        hash=f"{name}-{'' if shared else owner}-{seed}",
        reused=shared and owner != name,
        trained_parts=() if name == "ensemble" else (f"{name}.encoder",),
        trainable_parameters=0 if name == "ensemble" else 35712,
        total_parameters=223511,
        seconds=0.1 if name == "ensemble" else 8.3,
        peak_memory_mib=512.0,
        best_epoch=8 if curve else None,
        still_improving=name == "adapters",
        curve=curve,
        guards={}
        if shared or not curve
        else {"audio": {"before": 0.58, "after": 0.57 if owner == "ume_full" else 0.58}},
        probes={modality: 0.5 + 0.1 * (modality == "audio") for modality in modalities},
    )


def make_metrics(level: float, seed: int, name: str) -> tuple[Metric, ...]:
    shift = 0.01 * (seed - 1)
    found = [
        Metric(split=split, name=metric, value=value + shift, count=200)
        for split in ("val", "test")
        for metric, value in (("accuracy", level), ("f1_macro", level - 0.02), ("loss", 1.1))
    ]
    if name not in ("audio", "video"):
        conditions = {f"{kind}:{m}": 0.5 for kind in ("modality", "only", "without") for m in ("audio", "video")}
        for condition, value in {**conditions, "missing:0.25": 0.6, "missing:0.5": 0.55}.items():
            found.append(Metric(split="test", name="accuracy", value=value + shift, condition=condition, count=200))
    return tuple(found)


def make_record(method: str = "mmlora", seed: int = 0, fold: int | None = None, **changes: Any) -> Record:
    level, stages = METHODS.get(method, (0.6, ("joint",)))
    fields: dict[str, Any] = {
        "status": "done",
        "experiment": "scenes",
        "method": method,
        "dataset": "scenes-redundant",
        "seed": seed,
        "fold": fold,
        "selection_metric": "accuracy",
        "metrics": make_metrics(level, seed, method),
        "stages": tuple(make_stage(name, level, seed, method) for name in stages),
        "derived": {},
        "settings_tried": 3,
        "chosen": {"changes": {"training.learning_rate": 0.001}, "tried": [{"changes": {}, "validation": 0.6}]},
        "trainable_parameters": 35712 if method == "mmlora" else 223511,
        "total_parameters": 223511,
        "seconds": 31.0,
        "peak_memory_mib": 812.0,
        "published": 0.74 if method == "mmlora" else None,
        "config": {
            "experiment": {"joint": {"epochs": 11}},
            "method": {"method": method},
            "methods": [{"method": name, "label": None} for name in METHODS],
        },
        "data": {
            "fingerprint": "3fa2c1d09b7e" + ("" if fold is None else f"-{fold}"),
            "counts": {"train": 600, "val": 150, "test": 200},
            "validation": {"made": "carved", "fraction": 0.125, "seed": 0, "by": "group"},
            "excluded": {"count": 1, "by_reason": {"truncated file": 1}, "rows": [{"id": "clip-17"}]},
            "missing": {"audio": {"count": 2, "by_reason": {"no audio track": 2}}, "video": {"count": 0}},
            "shared_between_splits": {"ids": {"count": 0}, "groups": {"count": 3}, "contents": None},
        },
        "weights": {"audio": {"name": "small_cnn", "weights": "random"}, "video": {"name": "small_cnn"}},
        "classes": CLASSES,
        "versions": {"awase": "0.1.0", "python": "3.11.7", "torch": "2.15.0"},
        "hardware": {"processor": "A processor", "cores": 2, "device": "cpu"},
        "commit": "5704946",
        "dirty": False,
        "started": "2026-01-05T10:00:00",
        "finished": f"2026-01-05T10:{seed:02d}:31",
        "notes": ("The encoders began from random weights.",),
    }
    return Record(**{**fields, **changes})


def make_predictions(record: Record, num: int = 200) -> Predictions:
    """Test predictions about as accurate as the record says, on samples whose difficulty the methods share."""
    level = next(m.value for m in record.metrics if (m.split, m.name, m.condition) == ("test", "accuracy", "full"))
    rng = np.random.default_rng([record.seed, len(record.method), 0 if record.fold is None else record.fold])
    targets = np.arange(num) % len(CLASSES)
    difficulty = np.random.default_rng(7).random(num)
    ranks = (difficulty + 0.15 * rng.normal(size=num)).argsort().argsort()
    right = ranks < round(level * num)
    said = np.where(right, targets, (targets + 1 + rng.integers(0, 4, num)) % len(CLASSES))
    logits = np.eye(len(CLASSES), dtype=np.float32)[said] * 3
    prefix = "" if record.fold is None else f"f{record.fold}-"
    ids = tuple(f"{prefix}{i}" for i in range(num))
    groups = tuple(f"{prefix}g{i // 4}" for i in range(num))
    return Predictions(ids, ("test",) * num, targets, said, logits, {}, groups)


def write_runs(folder: Path, records: list[Record], *, num: int = 200, with_predictions: bool = True) -> None:
    """Writes each record into a folder of its own, with its predictions."""
    for place, record in enumerate(records):
        run = folder / record.experiment / record.method / f"seed-{record.seed}" / f"{place}"
        write_record(run, record)
        if with_predictions and record.status == "done":
            write_predictions(run / "predictions.parquet", make_predictions(record, num))


def all_records() -> list[Record]:
    return [make_record(method, seed) for method in METHODS for seed in (0, 1, 2)]
