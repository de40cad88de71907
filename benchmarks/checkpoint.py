"""P9: how long training waits for a checkpoint of MMLoRA on ViT-B and BERT-base, and how large its files are.

    python benchmarks/checkpoint.py [--json]

The two encoders have random weights and the published shapes; adapters of rank 8 on q and v; AdamW has made one step,
so that the checkpoint carries its moments. The wait is the time `CheckpointWriter.save` holds the caller.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from awase.adapters import Bank
from awase.config import AdapterConfig, EncoderConfig, TrainConfig
from awase.encoders import build_encoder
from awase.fusion import LateMean
from awase.models import Classifier
from awase.runner.provenance import processor_name
from awase.training.checkpoint import CheckpointWriter
from awase.training.optimisers import build_optimiser, optimiser_tensors
from awase.training.parts import freeze_except, match_parts, trained_tensors
from awase.training.store import StageStore

NUM_CLASSES = 101
REPETITIONS = 7


def build() -> Classifier:
    """ViT-B/16 on 224 pixels and BERT-base on 64 tokens, adapters of rank 8 on q and v in both."""
    configs = {
        "image": (EncoderConfig(name="timm", options={"model": "vit_base_patch16_224"}), (3, 224, 224)),
        "text": (EncoderConfig(name="transformers", options={"architecture": "bert"}), (64,)),
    }
    encoders: dict[str, nn.Module] = {}
    for name, (config, shape) in configs.items():
        encoders[name] = build_encoder(config, kind=name, input_shape=shape, seed=0)
        Bank.inject(encoders[name], AdapterConfig(targets="q,v", rank=8), seed=0)
    dims = {name: int(getattr(encoder, "dim")) for name, encoder in encoders.items()}  # noqa: B009
    heads = {name: nn.Linear(dim, NUM_CLASSES) for name, dim in dims.items()}
    return Classifier(encoders, heads, LateMean(dims, NUM_CLASSES))


def measure() -> list[dict[str, object]]:
    """One entry per target: the wait, and the size of the adapters' file."""
    model = build()
    trained = match_parts(("*.adapter", "*.head"), model.parts())
    parameters = freeze_except(model, trained)
    optimiser = build_optimiser(parameters, frozenset(), TrainConfig())
    for parameter in parameters.values():
        parameter.grad = torch.randn_like(parameter)
    optimiser.step()
    tensors = dict(trained_tensors(model.parts(), trained))
    tensors |= optimiser_tensors(optimiser, parameters)
    waits = []
    with tempfile.TemporaryDirectory() as folder:
        writer = CheckpointWriter(Path(folder) / "checkpoint.safetensors")
        for _ in range(REPETITIONS):
            started = time.perf_counter()
            writer.save(tensors, {"step": 1})
            waits.append(time.perf_counter() - started)
            writer.wait()
        writer.close()
        adapters = trained_tensors(model.parts(), ("image.adapter", "text.adapter"))
        store = StageStore(Path(folder))
        store.publish("adapters", {name: value.detach() for name, value in adapters.items()}, {})
        file_bytes = (store.folder("adapters") / "model.safetensors").stat().st_size
    raw_bytes = sum(value.numel() * value.element_size() for value in adapters.values())
    wait_ms = 1000 * statistics.median(waits)
    return [
        {
            "name": "wait for a checkpoint, ViT-B + BERT-base MMLoRA",
            "ours": wait_ms,
            "floor": 0.0,
            "unit": "ms",
            "ratio": None,
            "target": 50.0,
            "holds": wait_ms <= 50.0,
        },
        {
            "name": "adapters-only file over the adapters' size",
            "ours": file_bytes,
            "floor": raw_bytes,
            "unit": "bytes",
            "ratio": file_bytes / raw_bytes,
            "target": 1.05,
            "holds": file_bytes <= 1.05 * raw_bytes,
        },
    ]


def main() -> None:
    """Prints the entries as a table or as one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    entries = measure()
    machine = {"processor": processor_name(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    if arguments.json:
        print(json.dumps({"machine": machine, "entries": entries}))
        return
    print(machine)
    for entry in entries:
        ratio = "" if entry["ratio"] is None else f", ratio {entry['ratio']:.3f}"
        print(
            f"{entry['name']}: {entry['ours']:.1f} {entry['unit']}{ratio}, target {entry['target']}: {entry['holds']}"
        )


if __name__ == "__main__":
    main()
