"""Steps of MBT and PMF against plain formulations of the same numbers.

    python benchmarks/token_fusion.py [--full] [--threads 1] [--device cpu] [--repeats 9] [--json]

A step is forward and backward. Towers: a vision transformer (timm) on pictures and BERT on texts of 40 words, half of
them padding.

PMF, towers frozen: the plain form runs each fused block twice over all tokens, once to ask and once to fuse. Beside the
whole step the part that the method adds, the fused blocks alone. MBT, everything learns: the plain form runs every
stream on all samples and masks afterwards; once with complete samples, where both have the same work, and once with
half of the pictures missing. Before anything is timed the numbers of both forms are compared.

The contestants take turns; a ratio is the median of the ratios within a turn, of processor time on a CPU. Width 192, 3
heads, batch 4; `--full`: ViT-B/16 and BERT-base, batch 2.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from awase.config import EncoderConfig
from awase.encoders import build_encoder
from awase.fusion import Bottleneck, Prompts
from awase.runner.provenance import processor_name
from awase.types import Batch, Inputs, TokenBlocks, Tokens

LAYERS, WORDS, CLASSES, SIDE = 12, 40, 101, 224


@dataclass(frozen=True)
class Size:
    """The dimensions of one measurement."""

    width: int
    heads: int
    batch: int


def towers(size: Size, device: str) -> dict[str, nn.Module]:
    """The picture's and the text's encoder, without dropout."""
    vit = {"embed_dim": size.width, "num_heads": size.heads, "depth": LAYERS}
    bert = {
        "hidden_size": size.width,
        "num_attention_heads": size.heads,
        "num_hidden_layers": LAYERS,
        "intermediate_size": 4 * size.width,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    image = EncoderConfig(name="timm", options={"model": "vit_base_patch16_224", "model_options": vit})
    text = EncoderConfig(name="transformers", options={"architecture": "bert", "config": bert})
    return {
        "image": build_encoder(image, kind="image", input_shape=(3, SIDE, SIDE), seed=0).to(device),
        "text": build_encoder(text, kind="text", input_shape=(WORDS,), seed=1).to(device),
    }


def samples(size: Size, device: str) -> Batch:
    """Complete samples."""
    generator = torch.Generator().manual_seed(0)
    mask = (torch.arange(WORDS) < WORDS // 2).long().expand(size.batch, -1)
    inputs: dict[str, Inputs] = {
        "image": torch.randn(size.batch, 3, SIDE, SIDE, generator=generator),
        "text": {
            "input_ids": torch.randint(2, 1000, (size.batch, WORDS), generator=generator),
            "attention_mask": mask,
        },
    }
    everyone = torch.ones(size.batch, dtype=torch.bool)
    ids = tuple(str(number) for number in range(size.batch))
    present = dict.fromkeys(inputs, everyone)
    return Batch(ids, torch.arange(size.batch), inputs, present, frozenset(inputs)).to(device)


class AskEveryToken:
    """A tower whose query stage runs the whole block."""

    def __init__(self, tower: TokenBlocks) -> None:
        self.tower = tower
        self.dim, self.num_blocks = tower.dim, tower.num_blocks
        self.embed, self.block, self.finish = tower.embed, tower.block, tower.finish

    def last_rows(self, index: int, tokens: Tokens, count: int) -> Tensor:
        """The last rows of all of them."""
        return self.tower.block(index, tokens).values[:, -count:]


class Holder(nn.Module):
    """Something with `token_blocks`."""

    def __init__(self, blocks: TokenBlocks) -> None:
        super().__init__()
        self.blocks = blocks

    @property
    def token_blocks(self) -> TokenBlocks:
        """The blocks it holds."""
        return self.blocks


def pooled(fusion: Bottleneck | Prompts, encoders: Mapping[str, nn.Module], batch: Batch) -> Tensor:
    """One vector per sample of all modalities."""
    return torch.stack([value.pooled for value in fusion.encode(encoders, batch).values()]).sum(0)


def plain_bottleneck(fusion: Bottleneck, encoders: Mapping[str, nn.Module], batch: Batch) -> Tensor:
    """MBT on every row of every modality, with means over the present ones."""
    streams: dict[str, Any] = {name: encoder.token_blocks for name, encoder in encoders.items()}
    tokens = {name: stream.embed(batch.inputs[name], fusion.fusion_layer) for name, stream in streams.items()}
    weights = {name: batch.present[name].float()[:, None, None] for name in streams}
    shared = fusion.bottlenecks.expand(len(batch), -1, -1)
    for layer in range(fusion.fusion_layer, LAYERS):
        seen = []
        for name, stream in streams.items():
            number = tokens[name].values.shape[1]
            after = stream.block(layer, tokens[name].longer(shared)).values
            tokens[name] = Tokens(after[:, :number], tokens[name].mask)
            seen.append(after[:, number:] * weights[name])
        shared = torch.stack(seen).sum(0) / torch.stack(list(weights.values())).sum(0)
    return torch.stack([s.finish(tokens[name]).pooled * weights[name][:, 0] for name, s in streams.items()]).sum(0)


def prompt_steps(size: Size, device: str) -> dict[str, dict[str, Callable[[], Tensor]]]:
    """Title -> the two forms of PMF."""
    encoders = {name: encoder.requires_grad_(False).eval() for name, encoder in towers(size, device).items()}
    fusion = Prompts(dict.fromkeys(encoders, size.width), CLASSES, encoders=encoders).to(device)
    blocks: dict[str, Any] = {name: encoder.token_blocks for name, encoder in encoders.items()}
    plain = {name: Holder(AskEveryToken(value)) for name, value in blocks.items()}
    batch = samples(size, device)
    begin = dict.fromkeys(blocks, LAYERS - fusion.num_fused)
    with torch.no_grad():
        known = {name: value.embed(batch.inputs[name], begin[name]) for name, value in blocks.items()}

    def fused(holders: Mapping[str, Any]) -> Tensor:
        tokens, running = known, {name: holder.token_blocks for name, holder in holders.items()}
        for layer in range(fusion.num_fused):
            tokens = fusion._fused_layer(layer, running, begin, tokens)
        return torch.stack([tokens[name].values[:, 0] for name in running]).sum(0)

    return {
        "pmf, whole step": {
            "plain": lambda: pooled(fusion, plain, batch),
            "ours": lambda: pooled(fusion, encoders, batch),
        },
        "pmf, fused blocks alone": {"plain": lambda: fused(plain), "ours": lambda: fused(encoders)},
    }


def bottleneck_steps(size: Size, device: str) -> dict[str, dict[str, Callable[[], Tensor]]]:
    """Title -> the two forms of MBT."""
    encoders = towers(size, device)
    fusion = Bottleneck(dict.fromkeys(encoders, size.width), CLASSES, encoders=encoders).to(device)
    complete = samples(size, device)
    half = torch.arange(size.batch, device=device) < size.batch // 2
    missing = replace(complete, present={**complete.present, "image": half}, complete=frozenset({"text"}))

    def forms(batch: Batch) -> dict[str, Callable[[], Tensor]]:
        return {
            "plain": lambda: plain_bottleneck(fusion, encoders, batch),
            "ours": lambda: pooled(fusion, encoders, batch),
        }

    return {"mbt, complete samples": forms(complete), "mbt, half of the pictures missing": forms(missing)}


def measure(forms: Mapping[str, Callable[[], Tensor]], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of every repetition of forward and backward, in turns, after one that is not counted."""
    torch.testing.assert_close(forms["ours"](), forms["plain"](), rtol=1e-3, atol=1e-3)
    clock = time.process_time if device == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(repeats + 1):
        for name, form in forms.items():
            _wait(device)
            started = clock()
            form().square().mean().backward()
            _wait(device)
            if turn:
                times[name].append(clock() - started)
    return times


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def entry(title: str, times: Mapping[str, list[float]]) -> dict[str, Any]:
    """One comparison: how many times longer the plain form takes."""
    ms = {name: 1000 * statistics.median(values) for name, values in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["plain"], times["ours"], strict=True))
    return {"name": title, "ours": ms["ours"], "peer": ms["plain"], "unit": "ms", "ratio": ratio}


def main() -> None:
    """Prints the comparisons, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="ViT-B/16 and BERT-base")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    size = Size(768, 12, 2) if arguments.full else Size(192, 3, 4)
    steps = {**prompt_steps(size, arguments.device), **bottleneck_steps(size, arguments.device)}
    rows = [entry(title, measure(forms, arguments.repeats, arguments.device)) for title, forms in steps.items()]
    gpu = arguments.device == "cuda"
    machine = {
        "processor": torch.cuda.get_device_name() if gpu else processor_name(),
        "torch": torch.__version__,
        "threads": arguments.threads,
        "layers": LAYERS,
        "words": WORDS,
        **vars(size),
    }
    if arguments.json:
        print(json.dumps({"machine": machine, "entries": rows}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        print(f"{row['name']}: plain / ours {row['ratio']:.3f} (ours {row['ours']:.1f} ms, plain {row['peer']:.1f} ms)")


if __name__ == "__main__":
    main()
