"""Tables of two sensors that tell a label in part, on which a run takes about a second."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from awase.config import ArrayInput, DataConfig, EncoderConfig, Experiment, MethodConfig, TrainConfig

CLASSES = ("rain", "sun", "snow")
SIZES = {"train": 211, "val": 149, "test": 157}
DIM = 5


def write_readings(
    path: Path,
    noise: Mapping[str, float],
    *,
    scale: Mapping[str, float] | None = None,
    absent: Mapping[str, int] | None = None,
    sizes: Mapping[str, int] = SIZES,
    many: bool = False,
) -> Path:
    """A row per sample: per sensor the class's corner of a cube times `scale`, in noise.

    Every `absent[sensor]`-th row lacks that sensor. With `many` a row has one or two labels and shows the sum.
    """
    random = np.random.default_rng(3)
    rows = []
    for number, split in enumerate(split for split, size in sizes.items() for _ in range(size)):
        labels = {int(random.integers(3))} | ({int(random.integers(3))} if many else set())
        row: dict[str, Any] = {"id": f"r{number}", "split": split, "fold": number % 3, "group": f"g{number // 2}"}
        row["label"] = "|".join(CLASSES[label] for label in sorted(labels))
        for name, deviation in noise.items():
            signal = sum(2.0 * np.eye(3, DIM)[label] for label in labels)
            values = (scale or {}).get(name, 1.0) * (signal + deviation * random.normal(size=DIM))
            missing = name in (absent or {}) and number % (absent or {})[name] == 0
            row[name] = None if missing else json.dumps([round(float(value), 4) for value in values])
        rows.append(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def readings(
    table: Path, sensors: Sequence[str], methods: Sequence[MethodConfig], epochs: int = 7, **changes: Any
) -> Experiment:
    """Small networks on the sensors of a table."""
    data = {"manifest": table, "inputs": {name: ArrayInput(column=name, shape=(DIM,)) for name in sensors}}
    encoder = EncoderConfig(name="mlp", options={"width": 16, "depth": 1, "dropout": 0.0})
    training = TrainConfig(epochs=epochs, batch_size=32, learning_rate=1e-2, weight_decay=0.0)
    fields: dict[str, Any] = {
        "name": "readings",
        "data": DataConfig.model_validate({**data, **changes.pop("data", {})}),
        "encoders": dict.fromkeys(sensors, encoder),
        "methods": tuple(methods),
        "unimodal": training,
        "joint": training,
        "seeds": (0,),
        "missing_rates": (),
        "probe": False,
    }
    return Experiment(**{**fields, **changes})
