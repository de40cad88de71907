"""P7: what a table of methods costs beside its distinct stages, and beside separate runs of its methods.

    python benchmarks/method_table.py [--json] [--epochs 10] [--family-only]

Built-in clips (`scenes`, video and audio, 600 for training) in fresh caches. The first entry runs every method of the
classification tables into one cache: the wall clock of the whole command after the data is decoded (training, scoring,
probes, files) over the sum of the training times of its distinct stages. The second runs a family of methods that share
their stage 1 (each modality, frozen, fine-tuned, UME, UMT, MMLoRA over ranks and places) once into one cache and once
each into a cache of its own: the ratio of the two wall clocks.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from awase.config import Experiment, MethodConfig, Runtime, TrainConfig
from awase.distributed import ALONE
from awase.experiments import EXPERIMENTS
from awase.experiments.comparison import natural_baselines, table_methods
from awase.records import Record
from awase.runner.provenance import processor_name
from awase.runner.run import run_experiment
from awase.runner.setting import open_setting

MODALITIES = ("video", "audio")


def experiment(epochs: int, methods: tuple[MethodConfig, ...]) -> Experiment:
    """Clips whose label each modality tells in noise, one seed."""
    base = EXPERIMENTS["scenes.redundant"]()
    data = base.data.model_copy(update={"inputs": {name: base.data.inputs[name] for name in MODALITIES}})
    training = TrainConfig(epochs=epochs, batch_size=32, learning_rate=2e-3)
    return base.model_copy(
        update={"data": data, "methods": methods, "unimodal": training, "joint": training, "seeds": (0,)}
    )


def family() -> tuple[MethodConfig, ...]:
    """Methods that begin from the same uni-modal stages."""
    alone = natural_baselines(MODALITIES)[:2]
    together = [MethodConfig(method=name) for name in ("frozen_linear", "joint_finetuned", "ume", "ume_full", "umt")]
    adapted = [
        MethodConfig(
            method="mmlora", label=f"mmlora-r{rank}-{place}", settings={"rank": rank, "modalities": list(modalities)}
        )
        for rank in (1, 4, 16)
        for place, modalities in (("video", ("video",)), ("audio", ("audio",)), ("all", MODALITIES))
    ]
    return (*alone, *together, *adapted)


def timed(chosen: Experiment, cache: Path, out: Path) -> tuple[float, list[Record]]:
    """Seconds of a whole run, data opened beforehand, and its records."""
    runtime = Runtime(cache=cache, threads=1, device="cpu")
    open_setting(chosen, runtime, 0, None, ALONE)
    started = time.perf_counter()
    records = run_experiment(chosen, runtime, out)
    return time.perf_counter() - started, records


def distinct_seconds(records: list[Record]) -> tuple[float, int, int]:
    """(training seconds of the distinct stages, their number, stages asked for in all)."""
    stages = {stage.hash: stage.seconds for record in records for stage in record.stages}
    return sum(stages.values()), len(stages), sum(len(record.stages) for record in records)


def whole_table(epochs: int, folder: Path) -> dict[str, Any]:
    """Every method into one cache."""
    wall, records = timed(experiment(epochs, table_methods(MODALITIES)), folder / "cache", folder / "runs")
    seconds, distinct, asked = distinct_seconds(records)
    return {
        "name": f"{len(records)} methods, {asked} stages of which {distinct} distinct",
        "ours": wall,
        "floor": seconds,
        "unit": "s",
        "ratio": wall / seconds,
        "target": 1.05,
        "holds": wall <= 1.05 * seconds,
    }


def shared_family(epochs: int, folder: Path) -> dict[str, Any]:
    """The family into one cache, and each of its methods into its own."""
    methods = family()
    together, _ = timed(experiment(epochs, methods), folder / "shared", folder / "together")
    apart = 0.0
    for method in methods:
        one = experiment(epochs, (method,))
        apart += timed(one, folder / f"cache-{method.title}", folder / "apart")[0]
    return {
        "name": f"a family of {len(methods)} methods that share stage 1",
        "ours": together,
        "peer": apart,
        "unit": "s",
        "ratio": together / apart,
        "target": 0.5,
        "holds": together <= 0.5 * apart,
    }


def main() -> None:
    """Prints the entries, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--family-only", action="store_true")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = [shared_family] if arguments.family_only else [whole_table, shared_family]
    rows = []
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(part(arguments.epochs, Path(folder)))
    machine = {"processor": processor_name(), "torch": torch.__version__, "threads": 1, "epochs": arguments.epochs}
    if arguments.json:
        print(json.dumps({"machine": machine, "entries": rows}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        other = row.get("floor", row.get("peer"))
        print(f"{row['name']}: {row['ratio']:.3f} ({row['ours']:.1f} s, other {other:.1f} s), target {row['target']}")


if __name__ == "__main__":
    main()
