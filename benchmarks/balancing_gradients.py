"""A training step under MMPareto and AGM, against plain joint training and against the definitions written out.

    python benchmarks/balancing_gradients.py [--threads 1] [--repeats 9] [--json]

A step is forward, losses, backward and what the rule does to the gradients, of two modalities at batch 64 with a linear
layer on the concatenated features; no optimiser. Written out: MMPareto with a backward pass for each of the three
losses and one for their sum, cosine and norms looked at on the host, one parameter after the other; AGM with four whole
forward passes on inputs of zeros, all with gradient, and the scores one sample after the other. "small" are two
perceptrons of 64 units, where the rule's own work shows; "medium" the built-in convolutional networks on pictures of
64 x 64 and spectrograms of 64 x 96. The contestants take turns; a ratio is the median of the ratios within a turn, of
processor time.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awase.balancing import Forward, Rule, RuleContext, build_rule
from awase.config import BalancingConfig, EncoderConfig
from awase.encoders import build_encoder
from awase.fusion import build_fusion
from awase.models import Classifier
from awase.models.encode import presence
from awase.models.parts import part_of
from awase.objectives import cross_entropy
from awase.runner.provenance import processor_name
from awase.types import Batch

BATCH = 64
CLASSES = 28
SIZES: dict[str, dict[str, tuple[str, dict[str, Any], str, tuple[int, ...]]]] = {
    "small": {"audio": ("mlp", {"width": 64}, "array", (40,)), "video": ("mlp", {"width": 64}, "array", (60,))},
    "medium": {"audio": ("small_cnn", {}, "audio", (1, 64, 96)), "video": ("small_cnn", {}, "image", (3, 64, 64))},
}
TARGETS = {"mmpareto": 1.2, "agm": 1.8}
"""Of the definition written out over ours. MMPareto: at most 1.4, three backward passes per encoder against two."""
Step = Callable[[], None]


def classifier(size: str, own_heads: bool) -> Classifier:
    """The model of one size."""
    encoders: dict[str, nn.Module] = {
        name: build_encoder(EncoderConfig(name=kind, options=options), kind=modality, input_shape=shape, seed=0)
        for name, (kind, options, modality, shape) in SIZES[size].items()
    }
    torch.manual_seed(0)
    dims = {name: int(getattr(encoder, "dim")) for name, encoder in encoders.items()}  # noqa: B009
    heads = {name: nn.Linear(dim, CLASSES) for name, dim in dims.items()} if own_heads else {}
    return Classifier(encoders, heads, build_fusion("concat", dims, CLASSES, {})).train()


def some_batch(size: str) -> Batch:
    """Random inputs and classes."""
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(BATCH, *shape, generator=generator) for name, (_, _, _, shape) in SIZES[size].items()}
    everyone = {name: torch.ones(BATCH, dtype=torch.bool) for name in inputs}
    targets = torch.randint(CLASSES, (BATCH,), generator=generator)
    ids = tuple(f"s{row}" for row in range(BATCH))
    return Batch(ids, torch.arange(BATCH), dict(inputs), everyone, frozenset(inputs), targets)


def ruled(model: Classifier, batch: Batch, name: str | None) -> Step:
    """A step as the loop makes it, under a rule or none."""
    parts: dict[str, dict[str, nn.Parameter]] = {}
    for key, parameter in model.named_parameters():
        parts.setdefault(part_of(key), {})[key] = parameter
    context = RuleContext(model, parts, cross_entropy, CLASSES, False, epochs=1)
    rule = build_rule(None if name is None else BalancingConfig(name=name), context)

    def step() -> None:
        rule.begin(0, None)
        forward = _forward(model, batch, rule)
        found = rule.statistics(forward)
        if found is not None:
            rule.observe(found)
        rule.backward(forward, rule.losses(forward))
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        torch._foreach_div_([*gradients, *rule.extra_gradients()], float(BATCH))
        rule.after_backward(0)
        model.zero_grad()

    return step


def _forward(model: Classifier, batch: Batch, rule: Rule) -> Forward:
    output = model(batch, edit=rule.on_encoded)
    assert batch.targets is not None
    fused = cross_entropy(output.logits, batch.targets)
    return Forward(batch, output, presence(batch, model.modalities), cross_entropy, fused, fused)


def mmpareto_written_out(model: Classifier, batch: Batch, gamma: float = 1.5) -> Step:
    """Four backward passes, and loops over parameters."""
    assert batch.targets is not None
    targets = batch.targets
    own = {name: list(model.encoders[name].named_parameters()) for name in model.modalities}

    def step() -> None:
        output = model(batch)
        losses = {"": F.cross_entropy(output.logits, targets)}
        losses |= {name: F.cross_entropy(output.modality_logits[name], targets) for name in own}
        kept: dict[tuple[str, str], dict[str, Tensor]] = {}
        for which, loss in losses.items():
            model.zero_grad()
            loss.backward(retain_graph=True)
            for name, parameters in own.items():
                if which in ("", name):
                    kept[name, which] = {key: _gradient(p).clone() for key, p in parameters}
        model.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        for name, parameters in own.items():
            both, alone = kept[name, ""], kept[name, name]
            a, b = (torch.cat([value.flatten() for value in found.values()]) for found in (both, alone))
            w = 0.5
            if F.cosine_similarity(a, b, dim=0).item() <= 0:
                w = min(max((((b - a) * b).sum() / (a - b).square().sum()).item(), 0.0), 1.0)
            for key, p in parameters:
                g = 2 * w * both[key] + 2 * (1 - w) * alone[key]
                factor = (_gradient(p).norm() / g.norm()).item()
                p.grad = gamma * max(factor, 1.0) * g
        model.zero_grad()

    return step


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def agm_written_out(model: Classifier, batch: Batch, alpha: float = 1.5) -> Step:
    """Four forward passes, and loops over samples."""
    assert batch.targets is not None
    targets = batch.targets
    running = {"audio": 0.0, "video": 0.0}
    seen = 0

    def logits(**gone: bool) -> Tensor:
        features = {}
        for name, encoder in model.encoders.items():
            inputs = batch.inputs[name]
            assert isinstance(inputs, Tensor)
            features[name] = encoder(torch.zeros_like(inputs) if gone.get(name) else inputs).pooled
        return model.decide(features, dict.fromkeys(model.modalities))[0]

    def step() -> None:
        nonlocal seen
        z, no_audio, no_video = logits(), logits(audio=True), logits(video=True)
        logits(audio=True, video=True)
        shares = {"audio": 0.5 * (z - no_audio + no_video), "video": 0.5 * (z - no_video + no_audio)}
        errors = {}
        for name, share in shares.items():
            scores = [-F.softmax(share, dim=1)[row][targets[row]].log() for row in range(BATCH)]
            errors[name] = (torch.stack(scores).sum() / BATCH).item()
        for name, other in (("audio", "video"), ("video", "audio")):
            ratio = math.exp(errors[other] - errors[name])
            factor = math.exp(alpha * min(math.exp(running[other] - running[name]) - ratio, 10.0))
            shares[name].register_hook(lambda gradient, factor=factor: gradient * factor)
        seen += 1
        for name in running:
            running[name] += (errors[name] - running[name]) / seen
        F.cross_entropy(shares["audio"] + shares["video"], targets).backward()
        model.zero_grad()

    return step


def measure(steps: dict[str, Step], repeats: int) -> dict[str, list[float]]:
    """Seconds of processor time of every repetition per contestant, in turns, after two that are not counted."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    inner = 5 if _quick(steps) else 1
    for turn in range(repeats + 2):
        for name, step in steps.items():
            started = time.process_time()
            for _ in range(inner):
                step()
            if turn >= 2:
                times[name].append((time.process_time() - started) / inner)
    return times


def _quick(steps: dict[str, Step]) -> bool:
    step = next(iter(steps.values()))
    step()
    started = time.process_time()
    step()
    return time.process_time() - started < 0.02


def entries(size: str, repeats: int) -> list[dict[str, Any]]:
    """For each rule: ours over plain joint training (without a target), and the definition written out over ours."""
    batch = some_batch(size)
    times = measure(
        {
            "plain": ruled(classifier(size, False), batch, None),
            "mmpareto": ruled(classifier(size, True), batch, "mmpareto"),
            "mmpareto written out": mmpareto_written_out(classifier(size, True), batch),
            "agm": ruled(classifier(size, False), batch, "agm"),
            "agm written out": agm_written_out(classifier(size, False), batch),
        },
        repeats,
    )
    ms = {name: 1000 * statistics.median(values) for name, values in times.items()}

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))

    rows: list[dict[str, Any]] = []
    for name, target in TARGETS.items():
        common = {"ours": ms[name], "unit": "ms"}
        slower = ratio(f"{name} written out", name)
        rows += [
            {"name": f"{name}, {size}: ours over plain joint training", **common, "floor": ms["plain"]}
            | {"ratio": ratio(name, "plain"), "target": None, "holds": None},
            {"name": f"{name}, {size}: written out over ours", **common, "peer": ms[f"{name} written out"]}
            | {"ratio": slower, "target": target, "holds": slower >= target},
        ]
    return rows


def main() -> None:
    """Prints the entries, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [row for size in SIZES for row in entries(size, arguments.repeats)]
    machine = {"processor": processor_name(), "torch": torch.__version__, "threads": arguments.threads, "batch": BATCH}
    if arguments.json:
        print(json.dumps({"machine": machine, "entries": rows}))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        other = row.get("floor", row.get("peer"))
        verdict = "" if row["holds"] is None else f", target {row['target']}, holds: {row['holds']}"
        print(f"{row['name']}: {row['ratio']:.2f} (ours {row['ours']:.2f} ms, other {other:.2f} ms{verdict})")


if __name__ == "__main__":
    main()
