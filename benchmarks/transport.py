"""Batched Sinkhorn against POT's batched solver at equal accuracy (P8).

    python benchmarks/transport.py [--problems 64] [--size 512] [--threads 1] [--device cpu] [--repeats 5] [--json]

The scores are cosines of random embeddings of 64 numbers with noisy copies of them, in float32. Contests:
- epsilon 0.05 until the marginals hold: POT to its tolerance (1e-3 / sqrt(size), so that the absolute differences of a
  problem sum to 1e-3 at most), ours until they hold as well as those of POT's plans do;
- 50 iterations at epsilon 0.05 and 0.01, the same for both;
- the same at 0.05 against POT's form without logarithms, which has no defence against overflow and underflow.
POT scales rows, then columns, and ours columns, then rows. Before anything is timed the plans are compared, and the
violation (the sum of the absolute differences of all rows and columns from their marginals, of the worst problem) is
measured; ours may not exceed POT's by more than rounding.

The contestants take turns; a ratio is the median of the ratios within a turn, of processor time on a CPU.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import ot
import torch
from torch import Tensor
from torch.nn import functional as F

from awase.objectives import transport_plan
from awase.runner.provenance import processor_name

ITERATIONS = 50
ROUNDING = 5e-5
"""What sums of float32 may be off by, over all rows and columns of a problem."""
TARGET = 1.0


def cosines(problems: int, size: int, device: str) -> Tensor:
    """Scores (problems, size, size)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(problems, size, 64, generator=generator)
    y = x + torch.randn(problems, size, 64, generator=generator)
    return (F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).mT).to(device)


def violation(plans: Tensor) -> float:
    """Of the worst problem."""
    rows = (plans.double().sum(dim=2) - 1 / plans.shape[1]).abs().sum(dim=1)
    columns = (plans.double().sum(dim=1) - 1 / plans.shape[2]).abs().sum(dim=1)
    return float((rows + columns).max())


def pot(scores: Tensor, epsilon: float, method: str, tolerance: float, iterations: int) -> Tensor:
    """POT's plans."""
    found = ot.batch.solve_batch(-scores, epsilon, tol=tolerance, max_iter=iterations, method=method, grad="detach")
    plans: Tensor = found.plan
    return plans


Contest = dict[str, Callable[[], Tensor]]


def contests(scores: Tensor) -> dict[str, Contest]:
    """Both ways to the same plans, by what is asked for."""
    reached = pot(scores, 0.05, "log_sinkhorn", 1e-3 / scores.shape[1] ** 0.5, 10000)
    tolerance = violation(reached)
    found: dict[str, Contest] = {
        f"epsilon 0.05 to a violation of {tolerance:.1e}": {
            "POT": lambda: pot(scores, 0.05, "log_sinkhorn", 1e-3 / scores.shape[1] ** 0.5, 10000),
            "ours": lambda: transport_plan(scores, epsilon=0.05, iterations=10000, tolerance=tolerance),
        }
    }
    for epsilon, method in ((0.05, "log_sinkhorn"), (0.01, "log_sinkhorn"), (0.05, "sinkhorn")):
        plain = "" if method == "log_sinkhorn" else ", POT without logarithms"
        found[f"epsilon {epsilon}, {ITERATIONS} iterations{plain}"] = {
            "POT": lambda epsilon=epsilon, method=method: pot(scores, epsilon, method, 0.0, ITERATIONS),  # type: ignore[misc]
            "ours": lambda epsilon=epsilon: transport_plan(scores, epsilon=epsilon, iterations=ITERATIONS),  # type: ignore[misc]
        }
    return found


def measure(contest: Contest, repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of every repetition, in turns."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in contest}
    for _ in range(repeats):
        for name, solve in contest.items():
            _wait(device)
            started = clock()
            solve()
            _wait(device)
            times[name].append(clock() - started)
    return times


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def entry(title: str, contest: Contest, repeats: int, device: str) -> dict[str, Any]:
    """One comparison: how many times longer POT takes."""
    plans = {name: solve() for name, solve in contest.items()}
    violations = {name: violation(found) for name, found in plans.items()}
    assert violations["ours"] <= violations["POT"] + ROUNDING, violations
    times = measure(contest, repeats, device)
    ms = {name: 1000 * statistics.median(values) for name, values in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["POT"], times["ours"], strict=True))
    return {
        "name": title,
        "ours": ms["ours"],
        "peer": ms["POT"],
        "unit": "ms",
        "ratio": ratio,
        "target": TARGET,
        "holds": ratio >= TARGET,
        "violation": violations["ours"],
        "peer_violation": violations["POT"],
        "difference": float((plans["ours"] - plans["POT"]).abs().sum(dim=(1, 2)).max()),
    }


def main() -> None:
    """Prints the comparisons, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    scores = cosines(arguments.problems, arguments.size, arguments.device)
    rows = [entry(title, contest, arguments.repeats, arguments.device) for title, contest in contests(scores).items()]
    gpu = arguments.device == "cuda"
    machine = {
        "processor": torch.cuda.get_device_name() if gpu else processor_name(),
        "torch": torch.__version__,
        "pot": ot.__version__,
        "threads": arguments.threads,
        "problems": arguments.problems,
        "size": arguments.size,
    }
    if arguments.json:
        print(json.dumps({"machine": machine, "entries": rows}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        print(
            f"{row['name']}: POT / ours {row['ratio']:.2f} (ours {row['ours']:.0f} ms, {row['peer']:.0f} ms; violation "
            f"{row['violation']:.1e}, {row['peer_violation']:.1e}; plans differ by {row['difference']:.1e})"
        )


if __name__ == "__main__":
    main()
