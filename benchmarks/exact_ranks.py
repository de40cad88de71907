"""Exact ranks by counting in tiles, against one matrix product and against sorting.

    python benchmarks/exact_ranks.py [--full] [--threads 1] [--device cpu] [--repeats 5] [--json]

Ranks of N queries in a gallery of N embeddings, twice: "untrained", where the right item scores like any other and so
many scores lie close to it, and "trained", where most are found. Beside the time stands that of the same number of
multiplications in tiles alone, which no exact way can do without, and the largest memory in use above the embeddings
(of "untrained", which comes first and needs more; the largest use of a process only grows).
N is 20,000, or with `--full` 100,000, in 512 dimensions.

At N = 3350 in 4096 dimensions, the size of YouCook2, also against the usual formulation: the whole matrix, every row
sorted, the place of the right score looked up; given the matrix, and from the embeddings. The contestants take turns; a
ratio is the median of the ratios within a turn. The ranks are compared before anything is timed.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from awase.evaluation import exact_ranks, ranks_from_scores
from awase.runner.provenance import processor_name

DIM, SMALL, SMALL_DIM = 512, 3350, 4096
TARGETS = {"memory_gib": 2.0, "given_scores": 10.0}
FOUND = {"untrained": 0.0, "trained": 0.3}


def embeddings(count: int, dim: int, likeness: float, device: str) -> tuple[Tensor, Tensor]:
    """Random queries and a gallery; `likeness` of a query goes into its item."""
    generator = torch.Generator(device).manual_seed(0)
    queries = torch.randn(count, dim, generator=generator, device=device)
    gallery = torch.randn(count, dim, generator=generator, device=device)
    return queries, gallery.add_(queries, alpha=likeness)


def sorted_ranks(scores: Tensor) -> Tensor:
    """The usual formulation, one place per row where no two scores are equal."""
    ordered = (-scores).sort(dim=1).values
    return torch.where(ordered - (-scores.diag())[:, None] == 0)[1]


def floor(queries: Tensor, gallery: Tensor, side: int = 2048) -> Tensor:
    """All products in tiles, of which nothing is kept."""
    out = torch.empty(side, side, device=queries.device)
    for i in range(0, len(queries), side):
        for j in range(0, len(gallery), side):
            left, right = queries[i : i + side], gallery[j : j + side]
            torch.mm(left, right.T, out=out[: len(left), : len(right)] if len(left) == len(right) == side else None)
    return out


def timed(action: Callable[[], object], device: str) -> float:
    """Seconds: of the processor on a CPU."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    _wait(device)
    started = clock()
    action()
    _wait(device)
    return clock() - started


def used_gib(device: str) -> float:
    """The most memory that was in use up to now."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def large(name: str, count: int, device: str) -> dict[str, Any]:
    """Time and memory of all ranks, one measurement each: it is long."""
    queries, gallery = embeddings(count, DIM, FOUND[name], device)
    match = torch.arange(count, device=device)
    exact_ranks(queries[:4096], gallery[:4096], match[:4096])  # the libraries' own memory is not the ranks'
    before = used_gib(device)
    ranks: list[Tensor] = []
    seconds = timed(lambda: ranks.append(exact_ranks(queries, gallery, match)), device)
    memory = used_gib(device) - before
    product = timed(lambda: floor(queries, gallery), device)
    return {
        "name": f"{count} x {count} x {DIM}, {name}: one matrix product",
        "ours": 1000 * seconds,
        "peer": 1000 * product,
        "unit": "ms",
        "ratio": product / seconds,
        "memory_gib": memory,
        **{f"R@{k}": float((ranks[0] < k).double().mean()) for k in (1, 5, 10)},
    }


def small(repeats: int, device: str) -> list[dict[str, Any]]:
    """Against sorting, at the size of YouCook2."""
    queries, gallery = embeddings(SMALL, SMALL_DIM, 0.05, device)
    match, scores = torch.arange(SMALL, device=device), queries @ gallery.T
    ranks = sorted_ranks(scores)
    assert torch.equal(ranks, ranks_from_scores(scores, match))
    assert int((exact_ranks(queries, gallery, match) - ranks).abs().max()) <= 1  # float32 orders neighbours differently
    pairs: dict[str, dict[str, Callable[[], Tensor]]] = {
        "given the scores": {"ours": lambda: ranks_from_scores(scores, match), "peer": lambda: sorted_ranks(scores)},
        "from the embeddings": {
            "ours": lambda: exact_ranks(queries, gallery, match),
            "peer": lambda: sorted_ranks(queries @ gallery.T),
        },
    }
    return [
        entry(f"{SMALL} x {SMALL} x {SMALL_DIM}, {name}: sorting", forms, repeats, device)
        for name, forms in pairs.items()
    ]


def entry(title: str, forms: Mapping[str, Callable[[], Tensor]], repeats: int, device: str) -> dict[str, Any]:
    """One comparison: how many times longer the peer takes."""
    turns = [{name: timed(form, device) for name, form in forms.items()} for _ in range(repeats + 1)][1:]
    ms = {name: 1000 * statistics.median(turn[name] for turn in turns) for name in forms}
    ratio = statistics.median(turn["peer"] / turn["ours"] for turn in turns)
    return {"name": title, **ms, "unit": "ms", "ratio": ratio}


def main() -> None:
    """Prints the comparisons, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="100,000 queries and items: minutes on one core")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    gpu = arguments.device == "cuda"
    machine = {
        "processor": torch.cuda.get_device_name() if gpu else processor_name(),
        "torch": torch.__version__,
        "threads": arguments.threads,
    }
    count = 100_000 if arguments.full else 20_000
    rows = [large(name, count, arguments.device) for name in FOUND]
    rows += small(arguments.repeats, arguments.device)
    if arguments.json:
        print(json.dumps({"machine": machine, "targets": TARGETS, "entries": rows}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        memory = (
            f", {row['memory_gib']:.2f} GiB above the embeddings, R@1 {row['R@1']:.3f}" if "memory_gib" in row else ""
        )
        print(f"{row['name']} / ours {row['ratio']:.2f} (ours {row['ours']:.0f} ms, {row['peer']:.0f} ms){memory}")


if __name__ == "__main__":
    main()
