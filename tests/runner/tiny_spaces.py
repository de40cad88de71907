"""Tiny joint spaces of three modalities: generated clips, or readings in a table of which some are absent."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from awase.config import (
    ArrayInput,
    DataConfig,
    EncoderConfig,
    Experiment,
    MethodConfig,
    Runtime,
    ScenesConfig,
    SelectionConfig,
    TextInput,
    TrainConfig,
)
from awase.data import inferred
from awase.records import Record
from awase.runner.run import run_experiment

SETTINGS: dict[str, Any] = {
    "space": {"dim": 13, "reconstruction": 7},
    "clustering": {"num_clusters": 3, "queue_rows": 19, "refit_every": 2},
}
TRAINING = TrainConfig(epochs=2, batch_size=16, learning_rate=1e-2)
INPUTS = {
    "a": ArrayInput(column="a", shape=(3,)),
    "b": ArrayInput(column="b", shape=(5,)),
    "text": TextInput(column="text", max_tokens=5),
}
SIZES = {"train": 41, "val": 19, "test": 23}
WORDS = ("rain", "snow", "wind", "sun", "fog", "hail", "frost")


def mcn_of(
    *, staged: dict[str, Any] | None = None, label: str | None = None, pairs: Sequence[str] = (), **changes: Any
) -> MethodConfig:
    settings: dict[str, Any] = {"retrieval": {**SETTINGS, **changes}}
    settings |= {} if staged is None else {"staged": staged}
    settings |= {"pairs": list(pairs)} if pairs else {}
    return MethodConfig(method="mcn", label=label, settings=settings)


def space_experiment(data: DataConfig, *methods: MethodConfig, **changes: Any) -> Experiment:
    fields: dict[str, Any] = {
        "joint": TRAINING,
        "seeds": (0,),
        "missing_rates": (),
        "probe": False,
        "selection": SelectionConfig(metric="R@1"),
    } | changes
    return Experiment(name="spaces", data=data, methods=methods, **fields)


def clips(modalities: Sequence[str] = ("video", "audio", "text")) -> DataConfig:
    scenes = ScenesConfig(num_train=40, num_val=19, num_test=23)
    data = inferred(DataConfig(dataset="scenes", task="retrieval", scenes=scenes))
    return data.model_copy(update={"inputs": {name: data.inputs[name] for name in modalities}})


def reading_rows(
    absent: Mapping[str, int] | None = None, sizes: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """Numbers and words about one hidden vector per row; every so-manieth lacks a modality, by row number."""
    generator = np.random.default_rng(3)
    maps = {"a": generator.normal(size=(4, 3)), "b": generator.normal(size=(4, 5))}
    rows: list[dict[str, Any]] = []
    splits = [split for split, count in (sizes or SIZES).items() for _ in range(count)]
    for number, split in enumerate(splits):
        hidden = generator.normal(size=4)
        row: dict[str, Any] = {name: (hidden @ matrix).round(3).tolist() for name, matrix in maps.items()}
        row["text"] = " ".join(WORDS[int(abs(value) * 3) % len(WORDS)] for value in hidden) + f" {number}"
        for name, every in (absent or {}).items():
            row[name] = None if number % every == 0 else row[name]
        rows.append({"id": f"r{number}", **row, "start": number / 2, "end": number / 2 + 1.5, "split": split})
    return rows


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def readings_data(table: Path, modalities: Sequence[str] = ("a", "b", "text"), **changes: Any) -> DataConfig:
    inputs = {name: INPUTS[name] for name in modalities}
    return DataConfig(manifest=table, task="retrieval", inputs=inputs, **changes)


def small_encoders(modalities: Sequence[str] = ("a", "b", "text"), *, dropout: float = 0.0) -> dict[str, EncoderConfig]:
    words = {"dim": 8, "depth": 1, "num_heads": 2, "vocabulary_size": 32}
    made = {
        "a": EncoderConfig(name="mlp", options={"width": 11, "depth": 1, "dropout": dropout}),
        "b": EncoderConfig(name="mlp", options={"width": 12, "depth": 1, "dropout": dropout}),
        "text": EncoderConfig(name="small_transformer", options=words),
    }
    return {name: made[name] for name in modalities}


def train(experiment: Experiment, folder: Path, cache: Path, **runtime: Any) -> list[Record]:
    """The records of a whole run."""
    options = {"cache": cache, "device": "cpu", "threads": 1, **runtime}
    return run_experiment(experiment, Runtime.model_validate(options), folder)
