"""P7: what a table of methods costs beside its distinct stages, and beside separate runs of its methods.

    python benchmarks/method_table.py [--json] [--epochs 20] [--family-epochs 2] [--only table|family]

Built-in clips (`scenes`, video and audio, 120 for training) in fresh caches, one thread, about 3 minutes of a core. As
in the tables that awase ships, stages that begin from earlier ones have half the epochs of the others: these 20 and 10
(ViT-B and BERT) or 100 and 50 (ResNet-18). The first entry runs every method of the classification tables into one
cache: the time of the whole command after the data is decoded (training, scoring, probes, files) over the training of
its distinct stages; `without_probes` is the same ratio less the time that the linear probes took. The second runs a
family of methods that share their stage 1 (each modality, frozen, fine-tuned, UME, UMT, MMLoRA over ranks and places)
once into one cache and once each into a cache of its own. Everything is processor time of this process, so that other
processes do not count.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from awase.config import Experiment, MethodConfig, Runtime, ScenesConfig, TrainConfig
from awase.distributed import ALONE
from awase.experiments import EXPERIMENTS
from awase.experiments.comparison import natural_baselines, table_methods
from awase.records import Record
from awase.runner import nodes, run
from awase.runner.provenance import processor_name
from awase.runner.setting import open_setting

MODALITIES = ("video", "audio")
SCENES = ScenesConfig(num_train=120, num_val=40, num_test=60)


def experiment(epochs: int, methods: tuple[MethodConfig, ...]) -> Experiment:
    """Clips whose label each modality tells in noise, one seed; half the epochs for what begins from earlier stages."""
    base = EXPERIMENTS["scenes.redundant"]()
    inputs = {name: base.data.inputs[name] for name in MODALITIES}
    data = base.data.model_copy(update={"inputs": inputs, "scenes": SCENES})
    training = TrainConfig(epochs=epochs, batch_size=32, learning_rate=2e-3)
    shorter = training.model_copy(update={"epochs": max(epochs // 2, 1)})
    stages = {"unimodal": training, "from_start": training, "joint": shorter}
    return base.model_copy(update={"data": data, "methods": methods, "seeds": (0,), **stages})


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


def timed(chosen: Experiment, cache: Path, out: Path) -> tuple[float, float, list[Record]]:
    """Processor seconds of a whole run, data opened beforehand, those of its probes, and its records in the same."""
    runtime = Runtime(cache=cache, threads=1, device="cpu")
    open_setting(chosen, runtime, 0, None, ALONE)
    probing, probe_all = 0.0, run.probe_all

    def probed(runner: nodes.NodeRunner) -> dict[str, dict[str, float]]:
        nonlocal probing
        before = time.process_time()
        found = probe_all(runner)
        probing += time.process_time() - before
        return found

    processor = SimpleNamespace(monotonic=time.process_time)  # what a stage takes for its clock
    with patch.object(nodes, "time", processor), patch.object(run, "probe_all", probed):
        started = time.process_time()
        records = run.run_experiment(chosen, runtime, out)
        return time.process_time() - started, probing, records


def distinct_seconds(records: list[Record]) -> tuple[float, int, int]:
    """(training seconds of the distinct stages, their number, stages asked for in all)."""
    stages = {stage.hash: stage.seconds for record in records for stage in record.stages}
    return sum(stages.values()), len(stages), sum(len(record.stages) for record in records)


def whole_table(epochs: int, folder: Path) -> dict[str, Any]:
    """Every method into one cache."""
    whole, probes, records = timed(experiment(epochs, table_methods(MODALITIES)), folder / "cache", folder / "runs")
    seconds, distinct, asked = distinct_seconds(records)
    return {
        "name": f"{len(records)} methods, {asked} stages of which {distinct} distinct",
        "ours": whole,
        "floor": seconds,
        "unit": "processor s",
        "ratio": whole / seconds,
        "without_probes": (whole - probes) / seconds,
        "target": 1.05,
        "holds": whole <= 1.05 * seconds,
    }


def shared_family(epochs: int, folder: Path) -> dict[str, Any]:
    """The family into one cache, and each of its methods into its own."""
    methods = family()
    together, _, _ = timed(experiment(epochs, methods), folder / "shared", folder / "together")
    apart = 0.0
    for method in methods:
        one = experiment(epochs, (method,))
        apart += timed(one, folder / f"cache-{method.title}", folder / "apart")[0]
    return {
        "name": f"a family of {len(methods)} methods that share stage 1",
        "ours": together,
        "peer": apart,
        "unit": "processor s",
        "ratio": together / apart,
        "target": 0.5,
        "holds": together <= 0.5 * apart,
    }


def main() -> None:
    """Prints the entries, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--family-epochs", type=int, default=2)
    parser.add_argument("--only", choices=("table", "family"), help="one of the two entries")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = {"table": (whole_table, arguments.epochs), "family": (shared_family, arguments.family_epochs)}
    chosen = parts if arguments.only is None else {arguments.only: parts[arguments.only]}
    rows = []
    for part, epochs in chosen.values():
        with tempfile.TemporaryDirectory() as folder:
            rows.append({**part(epochs, Path(folder)), "epochs": epochs})
    load = round(os.getloadavg()[0], 1)
    machine = {"processor": processor_name(), "torch": torch.__version__, "threads": 1, "load": load}
    if arguments.json:
        print(json.dumps({"machine": machine, "entries": rows}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        other = row.get("floor", row.get("peer"))
        less = f", without probes {row['without_probes']:.3f}" if "without_probes" in row else ""
        times = f"{row['ours']:.1f} s, other {other:.1f} s, {row['epochs']} epochs"
        print(f"{row['name']}: {row['ratio']:.3f}{less} ({times}), target {row['target']}")


if __name__ == "__main__":
    main()
