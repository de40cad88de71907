"""P4: forward and backward of DAVEnet on 1000 frames, our layout against the published one and two others.

    python benchmarks/davenet.py [--clips 16] [--threads 1] [--device cpu] [--bfloat16] [--repeats 3] [--json]

Contestants, all with the same weights: `published` is Conv2d over (batch, channels, 1, frames); `conv1d` the same in
one dimension; `channels last` the published shapes in that memory format; `ours` the encoder as it is. A step counts
6 x 3.995 G operations per clip (forward and two gradients, a multiply-add is two). They take turns; times are medians,
of processor time on a CPU.

Shares are of two rates: of a product of two 2048 x 2048 matrices, and of the fastest operation there is here, which is
that product or a convolution of 256 channels; on AMD processors the product reaches half of what convolutions do.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awase.config import EncoderConfig
from awase.encoders import build_encoder
from awase.runner.provenance import processor_name

BINS, FRAMES = 40, 1000
GMAC_PER_CLIP = 3.995
SIDE = 2048
TARGET = 1.5


class Published(nn.Module):
    """The published layers over our weights: `dimensions` is 1 or 2."""

    def __init__(self, encoder: nn.Module, dimensions: int, memory_format: torch.memory_format) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.memory_format = memory_format
        self.norms = nn.ModuleDict()
        self.kernels = nn.ParameterDict()
        for name, layer in encoder.network.named_modules():  # type: ignore[union-attr]
            key = name.replace(".", "_")
            if isinstance(layer, nn.Conv2d):
                weight = layer.weight.detach().clone()
                weight = weight.squeeze(2) if dimensions == 1 else weight.to(memory_format=memory_format)
                self.kernels[key] = nn.Parameter(weight)
            elif isinstance(layer, nn.BatchNorm2d):
                self.norms[key] = (nn.BatchNorm1d if dimensions == 1 else nn.BatchNorm2d)(layer.num_features)
        self.num_blocks = int(encoder.num_blocks)  # type: ignore[arg-type]

    def forward(self, spectrograms: Tensor) -> Tensor:
        x = (
            spectrograms
            if self.dimensions == 1
            else spectrograms[:, :, None].contiguous(memory_format=self.memory_format)
        )
        x = F.relu(self.norms["first_bn"](self._convolve(x, "first_conv")), inplace=True)
        for index in range(self.num_blocks):
            name = f"blocks_{index}"
            stride = 2 if f"{name}_skip" in self.kernels else 1
            y = F.relu(self.norms[f"{name}_bn1"](self._convolve(x, f"{name}_conv1", stride)), inplace=True)
            y = self.norms[f"{name}_bn2"](self._convolve(y, f"{name}_conv2"))
            if stride == 2:
                x = self.norms[f"{name}_skip_bn"](self._convolve(x, f"{name}_skip", stride))
            x = F.relu(y.add_(x), inplace=True)
        return x.flatten(2).mean(2)

    def _convolve(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = self.kernels[name]
        padding = kernel.shape[-1] // 2
        if self.dimensions == 1:
            return F.conv1d(x, kernel, stride=stride, padding=padding)
        return F.conv2d(x, kernel, stride=(1, stride), padding=(0, padding))


def contestants(clips: int, device: str, bfloat16: bool) -> dict[str, Callable[[], None]]:
    """A function per contestant that makes a step; raises where one computes something else."""
    encoder = build_encoder(EncoderConfig(name="davenet"), kind="audio", input_shape=(1, BINS, FRAMES), seed=0)
    shapes = {"published": (2, torch.contiguous_format), "conv1d": (1, torch.contiguous_format)}
    shapes["channels last"] = (2, torch.channels_last)
    models = {name: Published(encoder, *shape).to(device).train() for name, shape in shapes.items()}
    encoder.to(device).train()
    x = torch.randn(clips, BINS, FRAMES, generator=torch.Generator().manual_seed(1)).to(device)
    run: dict[str, Callable[[], Any]] = {name: partial(model, x) for name, model in models.items()}
    run["ours"] = lambda: encoder(x).pooled
    with torch.no_grad():
        expected = run["published"]()
        for function in run.values():
            torch.testing.assert_close(function(), expected, rtol=1e-3, atol=1e-3)

    def step(function: Callable[[], Tensor], model: nn.Module) -> None:
        with torch.autocast(device, torch.bfloat16) if bfloat16 else nullcontext():
            output = function()
        output.float().square().mean().backward()
        model.zero_grad(set_to_none=True)

    owners: dict[str, nn.Module] = {**models, "ours": encoder}
    return {name: lambda name=name: step(run[name], owners[name]) for name in ("ours", *models)}  # type: ignore[misc]


def rates(device: str, dtype: torch.dtype) -> dict[str, tuple[float, Callable[[], object]]]:
    """Operations and a function for each of the two that set the rate."""
    a = torch.randn(SIDE, SIDE, device=device, dtype=dtype)
    image = torch.randn(1, 256, 16, 500, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(256, 256, 1, 9, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return {
        "product": (2.0 * SIDE**3, lambda: a @ a),
        "convolution": (2.0 * 16 * 500 * 256 * 256 * 9, lambda: F.conv2d(image, kernel, padding=(0, 4))),
    }


def measure(functions: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of every repetition, in turns, after one turn that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for turn in range(repeats + 1):
        for name, function in functions.items():
            if device == "cuda":
                torch.cuda.synchronize()
            started = clock()
            function()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                times[name].append(clock() - started)
    return times


def entries(times: dict[str, list[float]], clips: int, rate: dict[str, float]) -> list[dict[str, Any]]:
    """Per contestant its rate, the shares of both rates, and how many times as fast as published ours is."""
    rows = []
    for name in ("ours", "published", "conv1d", "channels last"):
        seconds = statistics.median(times[name])
        reached = 6 * GMAC_PER_CLIP * clips / seconds
        shares = {"of_product": reached / rate["product"], "of_fastest": reached / max(rate.values())}
        row = {"name": name, "ms": 1000 * seconds, "unit": "ms", "gflop_s": reached, **shares}
        if name != "ours":
            row["ratio"] = statistics.median(p / o for p, o in zip(times[name], times["ours"], strict=True))
        rows.append(row)
    rows[1] |= {"target": TARGET, "holds": float(rows[1]["ratio"]) >= TARGET}
    return rows


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    steps = contestants(arguments.clips, arguments.device, arguments.bfloat16)
    bounds = rates(arguments.device, torch.bfloat16 if arguments.bfloat16 else torch.float32)
    functions = {**steps, **{name: function for name, (_, function) in bounds.items()}}
    times = measure(functions, arguments.repeats, arguments.device)
    rate = {name: operations / statistics.median(times[name]) / 1e9 for name, (operations, _) in bounds.items()}
    on_gpu = arguments.device == "cuda"
    machine = {
        "processor": torch.cuda.get_device_name() if on_gpu else processor_name(),
        "threads": arguments.threads,
        "dtype": "bfloat16" if arguments.bfloat16 else "float32",
        "clips": arguments.clips,
        "rate_gflop_s": rate,
    }
    _show(machine, entries(times, arguments.clips, rate), arguments.json)


def _show(machine: dict[str, Any], rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"machine": machine, "entries": rows}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        against = f", {row['ratio']:.2f} times as long as ours" if "ratio" in row else ""
        shares = f"{row['of_product']:.0%} of the product, {row['of_fastest']:.0%} of the fastest"
        print(f"{row['name']}: {row['ms']:.0f} ms, {row['gflop_s']:.0f} GFLOP/s, {shares}{against}")


if __name__ == "__main__":
    main()
