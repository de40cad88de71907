"""What a checkpoint of MCN costs at the reference size, and how much of it is the queue.

    python benchmarks/space_checkpoint.py [--json] [--folder DIR]

A space of 4,096: 141.36 million parameters (both video streams) with AdamW's two moments, a queue of 40,960 rows, 256
centroids. The tensors are random; only their sizes count. Training waits while they are looked through for numbers that
are not finite and copied; the file, in DIR, is written in the background, and a checkpoint that is due earlier waits
for it.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from awase.runner.provenance import processor_name
from awase.training.checkpoint import CheckpointWriter

DIM, QUEUE_ROWS, NUM_CLUSTERS = 4096, 40_960, 256
PARAMETERS, PIECE = 141_360_000, 1 << 24
REPETITIONS = 5


def weights() -> dict[str, Tensor]:
    """The parameters and their moments, in pieces of the size of one large layer."""
    sizes = [min(PIECE, PARAMETERS - start) for start in range(0, PARAMETERS, PIECE)]
    kinds = ("weights", "moment", "square")
    return {f"{kind}|{number}": torch.randn(size) for kind in kinds for number, size in enumerate(sizes)}


def memory() -> dict[str, Tensor]:
    """What the clustering remembers."""
    return {"weights|queue": torch.randn(QUEUE_ROWS, DIM), "weights|centroids": torch.randn(NUM_CLUSTERS, DIM)}


def measure(name: str, tensors: dict[str, Tensor], folder: Path) -> dict[str, object]:
    """Medians: seconds of looking through, of `save`, of the writing behind it; and the size of the file."""
    looks, waits, writes = list[float](), list[float](), list[float]()
    path = folder / "checkpoint.safetensors"
    writer = CheckpointWriter(path)
    for _ in range(REPETITIONS):
        times = [time.perf_counter()]
        assert all(bool(torch.isfinite(v).all()) for key, v in tensors.items() if key.startswith("weights|"))
        times.append(time.perf_counter())
        writer.save(tensors, {})
        times.append(time.perf_counter())
        writer.wait()
        times.append(time.perf_counter())
        for kept, begin, end in zip((looks, waits, writes), times, times[1:], strict=False):
            kept.append(end - begin)
    writer.close()
    size, middle = path.stat().st_size, REPETITIONS // 2
    path.unlink()
    return {
        "name": name,
        "look_s": sorted(looks)[middle],
        "save_s": sorted(waits)[middle],
        "write_s": sorted(writes)[middle],
        "bytes": size,
    }


def main() -> None:
    """Prints a row for the whole and one for what is left without the queue."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        without = weights()
        entries = [
            measure("weights, moments, queue and centroids", {**without, **memory()}, Path(folder)),
            measure("without queue and centroids", without, Path(folder)),
        ]
    machine = {"processor": processor_name(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    if arguments.json:
        print(json.dumps({"machine": machine, "entries": entries}))
        return
    print(machine)
    for entry in entries:
        wait = f"waits {entry['look_s']:.2f} + {entry['save_s']:.2f} s"
        print(f"{entry['name']}: {wait}, written in {entry['write_s']:.2f} s, {entry['bytes']:,} bytes")


if __name__ == "__main__":
    main()
