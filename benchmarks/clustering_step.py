"""A step of online clustering, and a refit, against the formulas written out.

    python benchmarks/clustering_step.py [--full] [--threads 1] [--device cpu] [--repeats 9] [--json]

A step: every row of a batch gets its cluster, and half of the batch goes into the queue. Written out: the queue is
shifted by a copy, concatenated with the batch, and all rows of both are assigned. A refit: ten iterations of k-means
over queue and batch from the same centroids; written out, rows and centroids are normalised in every iteration and the
means are a product with a dense one-hot matrix. Before anything is timed the labels and centroids of both are compared.

The contestants take turns; a ratio is the median of the ratios within a turn, of processor time on a CPU. 512 rows of
512 numbers, 64 clusters, 5,120 rows in the queue; `--full`: the sizes of MCN, 4,096 rows of 4,096 numbers, 256
clusters, 40,960 rows.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from awase.objectives import ClusterMemory, kmeans
from awase.runner.provenance import processor_name

ITERATIONS = 10


@dataclass(frozen=True)
class Size:
    """The dimensions of one measurement."""

    batch: int = 512
    dim: int = 512
    clusters: int = 64
    queue: int = 5120


FULL = Size(4096, 4096, 256, 40960)


class WrittenOut:
    """The queue with its newest rows in front, and every row assigned."""

    def __init__(self, queue: Tensor, centroids: Tensor) -> None:
        self.queue, self.centroids = queue, centroids

    def step(self, fused: Tensor) -> Tensor:
        """The labels of the batch; its first half goes to the front, the oldest rows are dropped."""
        labels = nearest(torch.cat([self.queue, fused]), self.centroids)[-len(fused) :]
        half = len(fused) // 2
        self.queue[half:] = self.queue[:-half].clone()
        self.queue[:half] = fused[:half]
        return labels


def nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    """The centroid of the greatest cosine for every row."""
    return (F.normalize(rows, dim=1) @ F.normalize(centroids, dim=1).T).argmax(dim=1)


def kmeans_written_out(rows: Tensor, centroids: Tensor) -> Tensor:
    """Means by a product with the one-hot matrix of the labels."""
    for _ in range(ITERATIONS):
        one_hot = F.one_hot(nearest(rows, centroids), len(centroids)).to(rows.dtype).T  # (clusters, rows)
        counts = one_hot.sum(dim=1, keepdim=True)
        centroids = torch.where(counts > 0, one_hot @ rows / counts.clamp_min(1), centroids)
    return centroids


def samples(size: Size, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Queue, batch and centroids; rows around twice as many directions as clusters."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(2 * size.clusters, size.dim, generator=generator)
    rows = torch.randn(size.queue + size.batch, size.dim, generator=generator)
    rows += directions[torch.randint(len(directions), (len(rows),), generator=generator)]
    queue, batch = rows.to(device).split([size.queue, size.batch])
    return queue.clone(), batch.clone(), queue[:: len(queue) // size.clusters][: size.clusters].clone()


def steps(size: Size, device: str) -> dict[str, Callable[[], Tensor]]:
    """The labels of a batch."""
    queue, batch, centroids = samples(size, device)
    memory = ClusterMemory(size.dim, num_clusters=size.clusters, queue_rows=size.queue, refit_every=10**9).to(device)
    memory.step(queue)  # fits once, and fills the queue
    memory.centroids.copy_(centroids)
    written_out = WrittenOut(queue, centroids)
    half = slice(0, size.batch // 2)
    return {
        "written out": lambda: written_out.step(batch),
        "ours": lambda: memory.step(batch, push=half),
    }


def refits(size: Size, device: str) -> dict[str, Callable[[], Tensor]]:
    """The centroids after some iterations over queue and batch."""
    queue, batch, centroids = samples(size, device)
    everything = torch.cat([queue, batch])
    return {
        "written out": lambda: kmeans_written_out(everything, centroids),
        "ours": lambda: (
            kmeans(everything, size.clusters, centroids, max_iterations=ITERATIONS, tolerance=-1.0).centroids
        ),
    }


def measure(forms: dict[str, Callable[[], Tensor]], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of every repetition, in turns, after one that is not counted."""
    ours, theirs = forms["ours"](), forms["written out"]()
    if ours.is_floating_point():
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    else:
        # The products of both have other shapes, so that a row between two centroids may fall to either.
        assert float((ours != theirs).float().mean()) < 1e-3
    clock = time.process_time if device == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(repeats + 1):
        for name, form in forms.items():
            _wait(device)
            started = clock()
            form()
            _wait(device)
            if turn:
                times[name].append(clock() - started)
    return times


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def entry(title: str, times: dict[str, list[float]]) -> dict[str, Any]:
    """One comparison: how many times longer the formulas written out take."""
    ms = {name: 1000 * statistics.median(values) for name, values in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["written out"], times["ours"], strict=True))
    return {"name": title, "ours": ms["ours"], "peer": ms["written out"], "unit": "ms", "ratio": ratio}


def main() -> None:
    """Prints the comparisons, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes of MCN")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    size = FULL if arguments.full else Size()
    contests = {"step: assign and push": steps, f"refit: {ITERATIONS} iterations": refits}
    rows = [
        entry(title, measure(forms(size, arguments.device), arguments.repeats, arguments.device))
        for title, forms in contests.items()
    ]
    gpu = arguments.device == "cuda"
    machine = {
        "processor": torch.cuda.get_device_name() if gpu else processor_name(),
        "torch": torch.__version__,
        "threads": arguments.threads,
        **asdict(size),
    }
    if arguments.json:
        print(json.dumps({"machine": machine, "entries": rows}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        print(f"{row['name']}: written out / ours {row['ratio']:.2f} (ours {row['ours']:.1f} ms, {row['peer']:.1f} ms)")


if __name__ == "__main__":
    main()
