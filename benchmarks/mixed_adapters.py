"""P2: 16 adapters mixed in one batch against one, for tokens and for one vector per row; and what a switch costs.

    python benchmarks/mixed_adapters.py [--keys 16] [--threads 1] [--device cpu] [--bfloat16] [--repeats 15] [--json]

Tokens: a frozen transformer of 12 blocks (width 384, 128 tokens, batch 16), rank 8 on all linears, every row of the
batch with a key of its own. Vectors: a gated unit of MCN (4096 -> 4096), batch 256. A step is forward and backward.
Peft's mixed batch is forward only, as it refuses to train one. A switch is `activate`, or entering `mixed`, over the
transformer's 72 layers, against peft's `set_adapter`. The contestants take turns; a ratio is the median of the ratios
within a turn, of processor time on a CPU.
"""

import argparse
import copy
import json
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import peft
import torch
from adapter_step import LAYERS, RANK, Block, Size, measure
from torch import Tensor, nn

from awase.adapters import Bank
from awase.config import AdapterConfig
from awase.encoders.gated import GatedUnit
from awase.runner.provenance import processor_name

SIZE = Size(384, 6, 128, 16)
VECTOR_BATCH, VECTOR_IN, VECTOR_OUT = 256, 4096, 4096
TOKENS_TARGET, VECTORS_TARGET = 1.05, 1.10
SWITCHES = 1000


def with_keys(model: nn.Module, number: int) -> Bank:
    """The model's bank with so many adapters on all linears, with random `B`."""
    for key in range(number):
        bank = Bank.inject(model, AdapterConfig(targets="all-linear", rank=RANK), key=f"k{key}", seed=key)
        for name, parameter in bank.parameters(f"k{key}").items():
            if name.endswith(".B"):
                nn.init.normal_(parameter, std=0.02)
    return bank


def with_peft(model: nn.Module, number: int) -> Any:
    """The same in peft."""
    names = sorted({name.rpartition(".")[2] for name, layer in model.named_modules() if isinstance(layer, nn.Linear)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = peft.get_peft_model(model, peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=names), "k0")
        for key in range(1, number):
            wrapped.add_adapter(f"k{key}", peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=names))
    return wrapped.eval()


def finish(output: Tensor, model: nn.Module) -> None:
    """The backward pass of a step."""
    output.float().square().mean().backward()
    model.zero_grad(set_to_none=True)


def steps_of(model: nn.Module, bank: Bank, x: Tensor, number: int) -> dict[str, Callable[[], None]]:
    """One key and all of them mixed, forward and as a step."""
    keys = tuple(f"k{key}" for key in range(number))
    index = torch.arange(len(x), device=x.device) % number

    def one() -> Tensor:
        bank.activate("k0")
        output: Tensor = model(x)
        return output

    def mixed() -> Tensor:
        with bank.mixed(keys, index):
            output: Tensor = model(x)
        return output

    def mixed_step() -> None:
        with bank.mixed(keys, index):
            finish(model(x), model)

    return {
        "one forward": lambda: _without_gradient(one),
        "mixed forward": lambda: _without_gradient(mixed),
        "one step": lambda: finish(one(), model),
        "mixed step": mixed_step,
    }


def _without_gradient(forward: Callable[[], Tensor]) -> None:
    with torch.no_grad():
        forward()


def peft_forward(model: Any, x: Tensor, number: int) -> Callable[[], None]:
    """Peft's mixed batch, every row with a key of its own."""
    names = [f"k{row % number}" for row in range(len(x))]

    def forward() -> None:
        with torch.no_grad():
            model(x, adapter_names=names)

    return forward


def switching(bank: Bank, theirs: Any, number: int) -> dict[str, float]:
    """Microseconds of one switch."""

    def enter(key: int) -> None:
        with bank.mixed((f"k{key}", None)):
            pass

    actions: dict[str, Callable[[int], object]] = {
        "activate": lambda key: bank.activate(f"k{key}"),
        "mixed": enter,
        "peft": lambda key: theirs.set_adapter(f"k{key}"),
    }
    found = {}
    for name, action in actions.items():
        count = SWITCHES if name != "peft" else SWITCHES // 50
        started = time.perf_counter()
        for turn in range(count):
            action(turn % number)
        found[name] = 1e6 * (time.perf_counter() - started) / count
    return found


def entry(times: dict[str, list[float]], name: str, above: str, below: str, target: float | None) -> dict[str, Any]:
    """One comparison."""
    ratio = statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))
    ours, peer = (1000 * statistics.median(times[side]) for side in (above, below))
    holds = None if target is None else ratio <= target
    return {"name": name, "ours": ours, "peer": peer, "unit": "ms", "ratio": ratio, "target": target, "holds": holds}


def entries(number: int, repeats: int, device: str) -> list[dict[str, Any]]:
    """All comparisons."""
    torch.manual_seed(0)
    plain = nn.Sequential(*[Block(SIZE) for _ in range(LAYERS)]).requires_grad_(False).eval().to(device)
    ours = copy.deepcopy(plain)
    theirs = with_peft(_Named(copy.deepcopy(plain)), number)
    bank = with_keys(ours, number)
    x = torch.randn(SIZE.batch, SIZE.tokens, SIZE.width, device=device)
    steps = steps_of(ours, bank, x, number) | {"peft forward": peft_forward(theirs, x, number)}
    times = measure(steps, repeats, device)
    head = GatedUnit(VECTOR_IN, VECTOR_OUT).requires_grad_(False).eval().to(device)
    vectors = torch.randn(VECTOR_BATCH, VECTOR_IN, device=device)
    head_times = measure(steps_of(head, with_keys(head, number), vectors, number), repeats, device)
    switch = switching(bank, theirs, number)
    title = f"{number} keys mixed over one"
    found = [
        entry(times, f"tokens, {title}, forward", "mixed forward", "one forward", TOKENS_TARGET),
        entry(times, f"tokens, {title}, step", "mixed step", "one step", TOKENS_TARGET),
        entry(times, f"tokens, {number} keys mixed, forward, ours over peft", "mixed forward", "peft forward", None),
        entry(head_times, f"vectors, {title}, forward", "mixed forward", "one forward", VECTORS_TARGET),
        entry(head_times, f"vectors, {title}, step", "mixed step", "one step", VECTORS_TARGET),
    ]
    for name in ("activate", "mixed"):
        ratio = switch[name] / switch["peft"]
        found.append(
            {"name": f"a switch: {name} over peft's set_adapter", "ours": switch[name] / 1000}
            | {"peer": switch["peft"] / 1000, "unit": "ms", "ratio": ratio, "target": None, "holds": None}
        )
    return found


class _Named(nn.Module):
    """Peft passes on no names of adapters to a plain sequence."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.inner(x)
        return output


def main() -> None:
    """Prints the entries, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="autocast, adapters in float32")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.autocast(arguments.device, dtype=torch.bfloat16, enabled=arguments.bfloat16):
        rows = entries(arguments.keys, arguments.repeats, arguments.device)
    machine = {
        "processor": torch.cuda.get_device_name() if arguments.device == "cuda" else processor_name(),
        "torch": torch.__version__,
        "peft": peft.__version__,
        "threads": arguments.threads,
        "dtype": "bfloat16" if arguments.bfloat16 else "float32",
    }
    if arguments.json:
        print(json.dumps({"machine": machine, "entries": rows}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        verdict = "" if row["holds"] is None else f", target {row['target']}, holds: {row['holds']}"
        print(f"{row['name']}: {row['ratio']:.4f} (ours {row['ours']:.4g} ms, other {row['peer']:.4g} ms{verdict})")


if __name__ == "__main__":
    main()
