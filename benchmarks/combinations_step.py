"""P3: one encoder under several keys at once, adapters in its last blocks, against the formula for what it must cost.

    python benchmarks/combinations_step.py [--keys 3] [--last 4] [--threads 1] [--repeats 9] [--json]

A transformer of 12 blocks (width 384, 128 tokens, batch 4), all linears of the last `--last` blocks adapted with rank
8, without a key and under `--keys` keys (two pairs and the full set, of three modalities). In units of a forward pass,
back-propagation through activations being another: (1 - k) + 2 k K, with k the share of blocks that are adapted and K
the passes, one more than the keys; the pass without a key has no adapters, and needs gradients as when the space
learns below it. Operations are counted from the calls, and set against that formula with the adapters' own added (three
products each). Time is set against the measured forward and backward times of the plain blocks put into the same
formula; with what lies below kept (`execution="cached"`), only 2 k for every key. A step is forward and backward; the
contestants take turns; processor time, medians of ratios within a turn.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from adapter_step import measure
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, baddbmm_flop, mm_flop

from awase.adapters import Bank
from awase.config import AdapterConfig, EncoderConfig
from awase.encoders import build_encoder
from awase.encoders.blocks import BlockEncoder
from awase.models.keyed import cut_below_adapters, encode_keys
from awase.runner.provenance import processor_name
from awase.types import Below

DEPTH, WIDTH, TOKENS, BATCH, RANK = 12, 384, 128, 4, 8
TARGET = 1.10


def encoder_of(last: int, keys: tuple[str, ...]) -> BlockEncoder:
    """The frozen encoder with its adapters, cut below them."""
    options = {"dim": WIDTH, "depth": DEPTH, "num_heads": 6, "vocabulary_size": 1000, "dropout": 0.0}
    config = EncoderConfig(name="small_transformer", options=options)
    encoder = build_encoder(config, kind="text", input_shape=(TOKENS,), seed=0)
    assert isinstance(encoder, BlockEncoder), "every built encoder is one"
    encoder.eval().requires_grad_(False)
    for seed, key in enumerate(keys):
        adapter = AdapterConfig(targets="all-linear", rank=RANK, last_layers=last)
        bank = Bank.inject(encoder, adapter, key=key, seed=seed)
        for name, parameter in bank.parameters(key).items():
            if name.endswith(".B"):
                nn.init.normal_(parameter, std=0.02)
    Bank(encoder).activate(None)
    cut_below_adapters(encoder)
    return encoder


def steps_of(encoder: BlockEncoder, keys: tuple[str, ...]) -> dict[str, Callable[[], None]]:
    """The whole step in both executions, and the parts of the formula: below, and one pass above with its way back."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 1000, (BATCH, TOKENS), generator=generator)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        hidden: Any = encoder.prefix(inputs)
    needing = {**hidden, "hidden": hidden["hidden"].clone().requires_grad_()}

    def step(execution: Any) -> None:
        _, features = encode_keys(encoder, inputs, None, keys, execution=execution)
        _finish(features, encoder)

    def above() -> None:
        encoder.suffix(needing).pooled.square().mean().backward()
        needing["hidden"].grad = None

    with torch.no_grad():
        below = Below(hidden, encoder.suffix(hidden))

    def kept() -> None:
        _finish(encode_keys(encoder, below, None, keys)[1], encoder)

    return {
        "batched": lambda: step("batched"),
        "loop": lambda: step("loop"),
        "kept": kept,
        "below": lambda: _without_gradient(lambda: encoder.prefix(inputs)),
        "above, with its way back": above,
        "above, forward": lambda: _without_gradient(lambda: encoder.suffix(hidden)),
    }


def _finish(features: Tensor, encoder: nn.Module) -> None:
    features.square().mean().backward()
    encoder.zero_grad(set_to_none=True)


def _without_gradient(forward: Callable[[], object]) -> None:
    with torch.no_grad():
        forward()


def operations(step: Callable[[], object]) -> int:
    """Multiplications and additions of all matrix products, those in place too."""
    aten = torch.ops.aten
    products = {
        aten.addmm_: lambda out, a, b, *rest, **more: mm_flop(a, b),
        aten.baddbmm_: lambda out, a, b, *rest, **more: baddbmm_flop(out, a, b),
    }
    with FlopCounterMode(display=False, custom_mapping=products) as counter:
        step()
    return int(counter.get_total_flops())


def entries(number: int, last: int, repeats: int) -> list[dict[str, Any]]:
    """Operations and time against the formula."""
    keys = tuple(f"k{key}" for key in range(number))
    encoder = encoder_of(last, keys)
    steps = steps_of(encoder, keys)
    rows = BATCH * TOKENS
    adapters = 2 * rows * RANK * last * (4 * 2 * WIDTH + 2 * 5 * WIDTH)
    counts = {name: operations(step) for name, step in steps.items()}
    one_way = counts["above, with its way back"]
    needed = counts["below"] + counts["above, forward"] + number * (one_way + 3 * adapters)
    times = measure(steps, repeats, "cpu")
    factor = 1 + 3 * adapters / one_way
    formula = [below + forward + number * back * factor for below, forward, back in turns_of(times)]
    title = f"{number} keys and none, last {last} of {DEPTH} blocks"
    found: list[dict[str, Any]] = [
        {"name": f"{title}: operations over the formula", "ours": counts["batched"], "floor": needed}
        | {"unit": "operations", "ratio": counts["batched"] / needed, "target": 1.0}
    ]
    for name in ("batched", "loop"):
        ratio = statistics.median(a / b for a, b in zip(times[name], formula, strict=True))
        found.append(
            {"name": f"{title}: time over the formula, {name}", "ours": 1000 * statistics.median(times[name])}
            | {"floor": 1000 * statistics.median(formula), "unit": "ms", "ratio": ratio, "target": TARGET}
        )
    of_keys = [number * back * factor for _, _, back in turns_of(times)]
    ratio = statistics.median(a / b for a, b in zip(times["kept"], of_keys, strict=True))
    found.append(
        {
            "name": f"{title}: time over the formula, what lies below kept",
            "ours": 1000 * statistics.median(times["kept"]),
        }
        | {"floor": 1000 * statistics.median(of_keys), "unit": "ms", "ratio": ratio, "target": TARGET}
    )
    return [{**row, "holds": row["ratio"] <= row["target"] + 0.01 * (row["unit"] == "operations")} for row in found]


def turns_of(times: dict[str, list[float]]) -> Iterator[tuple[float, float, float]]:
    """The measured parts of the formula, turn by turn."""
    return zip(*(times[name] for name in ("below", "above, forward", "above, with its way back")), strict=True)


def main() -> None:
    """Prints the entries, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=3)
    parser.add_argument("--last", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = entries(arguments.keys, arguments.last, arguments.repeats)
    machine = {"processor": processor_name(), "torch": torch.__version__, "threads": arguments.threads}
    if arguments.json:
        print(json.dumps({"machine": machine, "entries": rows}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        compared = f"ours {row['ours']:.4g}, formula {row['floor']:.4g} {row['unit']}"
        print(f"{row['name']}: {row['ratio']:.4f} ({compared}; target {row['target']}, holds: {row['holds']})")


if __name__ == "__main__":
    main()
