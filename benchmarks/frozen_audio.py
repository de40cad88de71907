"""A step of MCN with a frozen DAVEnet: its features computed each time, or kept for the clips of the store.

    python benchmarks/frozen_audio.py [--videos 4] [--clips-per-video 32] [--epochs 12] [--json]

The generated data and the stage of `mcn_whole_step.py`, of `--videos` videos, whose audio encoder does not learn; one
step is an epoch. First `--epochs` steps that compute the features of every clip (three of them are enough), then as
many that keep them, from an empty cache, then three of another run on the same cache. Processor time, one thread.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from mcn_data import open_joint, prepare
from mcn_parts import timed_loop

from awase.config import StageConfig
from awase.runner.build import build_retrieval
from awase.runner.known_clips import clips_of_stage
from awase.runner.provenance import processor_name
from awase.runner.setting import Setting
from awase.training.parts import match_parts


def steps(setting: Setting, stage: StageConfig, epochs: int, gib: float) -> list[dict[str, float]]:
    """The parts of every step, with features kept in up to `gib` of the setting's cache."""
    runtime = setting.runtime.model_copy(update={"clip_cache_gib": gib})
    own = Setting(**{**vars(setting), "runtime": runtime})
    stage = stage.model_copy(update={"training": stage.training.model_copy(update={"epochs": epochs})})
    model = build_retrieval(stage, own.spec)
    known = clips_of_stage(model, stage, match_parts(stage.train, model.parts()), own)
    batches = own.dataset.loader(
        "train",
        batch_size=stage.training.batch_size,
        modalities=stage.modalities,
        inputs=known.missing("train"),
        seed=own.seed,
        train=True,
    )
    parts, run = timed_loop(model, stage, own, batches, known=known)
    run()
    return parts.steps


def main() -> None:
    """Takes the steps and prints what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--clips-per-video", type=int, default=32)
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.videos, 20_000)
        setting, stage = open_joint(Path(folder), options.videos, options.clips_per_video, options.dim)
        stage = stage.model_copy(update={"train": tuple(part for part in stage.train if part != "audio.encoder")})
        found = {
            "computed each time": steps(setting, stage, min(3, options.epochs), 0.0),
            "kept": steps(setting, stage, options.epochs, 50.0),
            "kept by another run": steps(setting, stage, 3, 50.0),
        }
    entries: list[dict[str, Any]] = [
        {"name": name, "seconds": [step["total"] for step in parts], "audio": [step["audio forward"] for step in parts]}
        for name, parts in found.items()
    ]
    every = statistics.median(entries[0]["seconds"])
    ratios = [every / seconds for seconds in entries[1]["seconds"]]
    ratios.append(every / statistics.median(entries[2]["seconds"]))
    machine = {"processor": processor_name(), "torch": torch.__version__, **vars(options)}
    if options.json:
        print(json.dumps({"machine": machine, "entries": entries, "ratios": ratios}))
        return
    print(machine)
    for entry in entries:
        print(entry["name"], *(f"{seconds:.2f} s" for seconds in entry["seconds"]))
        print("  of these DAVEnet", *(f"{seconds:.2f} s" for seconds in entry["audio"]))
    print("ratios", *(f"{ratio:.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
