"""P1: a training step with one adapter set on all linears of a frozen 12-layer transformer, against floor and peft.

    python benchmarks/adapter_step.py [--full] [--threads 1] [--device cpu] [--bfloat16] [--repeats 15] [--json]

A step is forward and backward. Floor: the same encoder with every parameter frozen and an input that requires a
gradient. Adapters (rank 8, random `B`) and peft: the input requires none, as in training. Linear probe: the frozen
encoder without gradients and a head that learns. The contestants take turns; a ratio is the median of the ratios within
a turn, of processor time on a CPU, so that other programs on the machine disturb little.

Width 384, 6 heads, 128 tokens, batch 8; `--full` has the size of ViT-B, width 768, 12 heads, 197 tokens, batch 4. The
adapters' own arithmetic is 4.7 % of the linears' at width 384 and 2.4 % at 768, so the narrow size is the harder one.
"""

import argparse
import copy
import json
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import peft
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from awase.adapters import Bank
from awase.config import AdapterConfig
from awase.runner.provenance import processor_name

RANK = 8
LAYERS = 12
CLASSES = 101
FLOOR_TARGET = 1.06
PEFT_TARGET = 1.15


@dataclass(frozen=True)
class Size:
    """The dimensions of one measurement."""

    width: int
    heads: int
    tokens: int
    batch: int


class Block(nn.Module):
    """A transformer block with separate projections, normalised first."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.heads = size.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm1(x)
        q, k, v = (layer(normal).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(mixed)
        output: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return output


def contestants(size: Size, device: str) -> dict[str, Callable[[], None]]:
    """One function per contestant that makes a step."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    floor = nn.Sequential(*[Block(size) for _ in range(LAYERS)]).requires_grad_(False).to(device)
    ours, peers = copy.deepcopy(floor), copy.deepcopy(floor)
    Bank.inject(ours, AdapterConfig(targets="all-linear", rank=RANK), seed=0)
    names = sorted({name.rpartition(".")[2] for name, layer in floor.named_modules() if isinstance(layer, nn.Linear)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=names)
        theirs: nn.Module = peft.get_peft_model(peers, config)
    for model, mark in ((ours, ".B"), (theirs, ".lora_B.default.weight")):
        for name, parameter in model.named_parameters():
            if name.endswith(mark):
                nn.init.normal_(parameter, std=0.02)
    x = torch.randn(size.batch, size.tokens, size.width, generator=generator).to(device)
    head = nn.Linear(size.width, CLASSES, device=device)

    def probe() -> None:
        with torch.no_grad():
            features = floor(x).mean(dim=1)
        _finish(head(features), head)

    needing = x.clone().requires_grad_()
    return {
        "floor": lambda: _finish(floor(needing), floor, needing),
        "ours": lambda: _finish(ours(x), ours),
        "peft": lambda: _finish(theirs(x), theirs),
        "linear probe": probe,
    }


def _finish(output: Tensor, model: nn.Module, x: Tensor | None = None) -> None:
    output.float().square().mean().backward()
    for tensor in model.parameters() if x is None else (x,):
        tensor.grad = None


def measure(steps: dict[str, Callable[[], None]], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of every repetition per contestant, in turns, after two turns that are not counted."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for turn in range(repeats + 2):
        for name, step in steps.items():
            _wait(device)
            started = clock()
            step()
            _wait(device)
            if turn >= 2:
                times[name].append(clock() - started)
    return times


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def entries(times: dict[str, list[float]], title: str) -> list[dict[str, Any]]:
    """The comparisons of P1: ours over the floor, peft over ours, and, without a target, ours over the probe."""
    ms = {name: 1000 * statistics.median(values) for name, values in times.items()}

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))

    floor, faster = ratio("ours", "floor"), ratio("peft", "ours")
    common = {"ours": ms["ours"], "unit": "ms"}
    return [
        {"name": f"{title}: ours over the floor", **common, "floor": ms["floor"], "ratio": floor}
        | {"target": FLOOR_TARGET, "holds": floor <= FLOOR_TARGET},
        {"name": f"{title}: peft over ours", **common, "peer": ms["peft"], "ratio": faster}
        | {"target": PEFT_TARGET, "holds": faster >= PEFT_TARGET},
        {"name": f"{title}: ours over a linear probe", **common, "peer": ms["linear probe"]}
        | {"ratio": ratio("ours", "linear probe"), "target": None, "holds": None},
    ]


def where_time_goes(step: Callable[[], None], device: str, repeats: int = 3) -> dict[str, float]:
    """Milliseconds of a step by kind of work, from the profiler, which itself slows small operations down."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    step()
    with profile(activities=activities, record_shapes=True) as recorded:
        for _ in range(repeats):
            step()
        _wait(device)
    totals: Counter[str] = Counter()
    for event in recorded.key_averages(group_by_input_shape=True):
        microseconds = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        totals[_kind(event.key, event.input_shapes)] += microseconds / 1000 / repeats
    return dict(totals.most_common())


def _kind(name: str, shapes: Any) -> str:
    sizes = [size for shape in shapes or [] if isinstance(shape, list | tuple) and len(shape) == 2 for size in shape]
    if "mm" in name:
        return "adapter products" if sizes and min(sizes) <= RANK + 1 else "base products"
    if "attention" in name:
        return "attention"
    return "elementwise, norms, copies" if name.startswith("aten::") else "autograd and python"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the benchmarks of adapters have in common: threads, repeats, device, type, JSON."""
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="autocast, adapters in float32")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def machine_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a measurement was made with."""
    return {
        "processor": torch.cuda.get_device_name() if arguments.device == "cuda" else processor_name(),
        "torch": torch.__version__,
        "peft": peft.__version__,
        "threads": arguments.threads,
        "dtype": "bfloat16" if arguments.bfloat16 else "float32",
    }


def main() -> None:
    """Prints the entries and the profile, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the size of ViT-B")
    add_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    size = Size(768, 12, 197, 4) if arguments.full else Size(384, 6, 128, 8)
    device = arguments.device
    with torch.autocast(device, dtype=torch.bfloat16, enabled=arguments.bfloat16):
        steps = contestants(size, device)
        times = measure(steps, arguments.repeats, device)
        profiles = {name: where_time_goes(steps[name], device) for name in ("floor", "ours", "peft")}
    machine = {
        **machine_of(arguments),
        "layers": LAYERS,
        "rank": RANK,
        **vars(size),
    }
    _show(machine, entries(times, f"adapters on all linears, width {size.width}"), profiles, arguments.json)


def _show(machine: dict[str, Any], rows: list[dict[str, Any]], profiles: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"machine": machine, "entries": rows, "profile_ms": profiles}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        other = row.get("floor", row.get("peer"))
        verdict = "" if row["holds"] is None else f", target {row['target']}, holds: {row['holds']}"
        print(f"{row['name']}: {row['ratio']:.3f} (ours {row['ours']:.1f} ms, other {other:.1f} ms{verdict})")
    print("where the time of a step goes, ms (profiled, which slows small operations)")
    for name, parts in profiles.items():
        print(f"  {name}: " + ", ".join(f"{part} {value:.1f}" for part, value in parts.items()))


if __name__ == "__main__":
    main()
