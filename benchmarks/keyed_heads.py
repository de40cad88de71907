"""Gated heads under several keys of one input: the base once, against each key's rows through both matrices.

    python benchmarks/keyed_heads.py [--keys 4] [--rows 128] [--dim 1024] [--width 2048] [--rank 8] [--threads 1]
        [--repeats 9] [--json]

MCN's head from features of `--dim` to a space of `--width`, frozen, with adapters of `--rank` on both matrices. A step
is forward and backward to the adapters. `repeated` is the same head given the input once per key. The contestants take
turns; processor time, median of the ratios within a turn. Operations are counted from the calls.
"""

import argparse
import json
import statistics
import sys
from unittest.mock import patch

import torch
from adapter_step import measure
from combinations_step import operations
from torch import Tensor, nn

from awase import products
from awase.adapters import Bank
from awase.config import AdapterConfig
from awase.encoders.gated import GatedUnit
from awase.models.keyed import project_keys
from awase.runner.provenance import processor_name


def head_of(keys: tuple[str, ...], dim: int, width: int, rank: int) -> GatedUnit:
    """The frozen head with its adapters."""
    head = GatedUnit(dim, width).requires_grad_(False)
    for seed, key in enumerate(keys):
        bank = Bank.inject(head, AdapterConfig(targets="*", rank=rank), key=key, seed=seed)
        for parameter in bank.parameters(key).values():
            nn.init.normal_(parameter, std=0.02)
    Bank(head).activate(None)
    return head


def main() -> None:
    """Prints the ratios, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"keys": 4, "rows": 128, "dim": 1024, "width": 2048, "rank": 8, "threads": 1, "repeats": 9}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keys = tuple(f"k{number}" for number in range(given.keys))
    head = head_of(keys, given.dim, given.width, given.rank)
    x = torch.randn(given.rows, given.dim, generator=torch.Generator().manual_seed(0))

    def step(features: Tensor) -> None:
        project_keys(head, features, keys).square().mean().backward()
        head.zero_grad(set_to_none=True)

    steps = {"common": lambda: step(x), "repeated": lambda: step(x.expand(len(keys), -1, -1))}
    with patch.object(products, "LEAST", sys.maxsize):  # the counter does not know oneDNN's products
        counts = {name: operations(run) for name, run in steps.items()}
    times = measure(steps, given.repeats, "cpu")
    found = {
        "processor": processor_name(),
        "torch": torch.__version__,
        "operations": counts["repeated"] / counts["common"],
        "time": statistics.median(b / a for a, b in zip(times["common"], times["repeated"], strict=True)),
        "common_ms": 1000 * statistics.median(times["common"]),
        "repeated_ms": 1000 * statistics.median(times["repeated"]),
    }
    if given.json:
        print(json.dumps(found))
        return
    for name, entry in found.items():
        print(f"{name}: {entry:.3g}" if isinstance(entry, float) else f"{name}: {entry}")


if __name__ == "__main__":
    main()
