"""A training step under OGM-GE, PMR, OPM and MLA, against plain joint training and against plainly written definitions.

    python benchmarks/balancing_modulation.py [--threads 1] [--repeats 9] [--device cpu] [--json]

Two modalities, batch 64, 28 classes, the same loop for all. Small: encoders of two linear layers of width 128, so that
what a rule costs is visible. Medium: four convolutions (390 thousand weights) on 3 x 24 x 24. The definitions are
written here sample by sample and parameter by parameter, as one first writes them: softmax of the whole batch for every
sample, distances in a double loop, a deviation per tensor brought to the host, a full forward pass per modality. The
contestants take turns; a ratio is the median of the ratios within a turn, of processor time on a CPU.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from awase.balancing import Forward, Rule, RuleContext, build_rule
from awase.balancing.mla import Mla
from awase.balancing.opm import Opm
from awase.balancing.pmr import Pmr
from awase.config import BalancingConfig, SelectionConfig, TrainConfig
from awase.fusion import build_fusion
from awase.models import Classifier
from awase.models.encode import presence
from awase.models.parts import part_of
from awase.objectives import cross_entropy
from awase.runner.provenance import processor_name
from awase.training.loop import Loop, LoopSettings, Work
from awase.types import Batch, Encoded

BATCH, CLASSES, DIM = 64, 28, 128
PLAIN_TARGET = {"small": None, "medium": 1.1}
PEER_TARGET = {"small": 2.0, "medium": None}
"""Of what the rule adds to a step: the definition's over ours."""
NAMES = ("audio", "video")
OPTIONS: dict[str, dict[str, Any]] = {"ogm_ge": {}, "pmr": {}, "opm": {"start_epoch": 0, "p_exe": 1.0}, "mla": {}}


class Small(nn.Module):
    """Two linear layers on the first 128 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = DIM
        self.layers = nn.Sequential(nn.Linear(128, DIM), nn.ReLU(), nn.Linear(DIM, DIM))

    def forward(self, x: Tensor) -> Encoded:
        return Encoded(self.layers(x.flatten(1)[:, :128]))


class Medium(nn.Module):
    """Four convolutions with batch norm, and the mean over places."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = DIM
        widths = (3, 32, 64, DIM, DIM)
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride=1 + (n > 0), padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for n, (a, b) in enumerate(pairwise(widths))
        ]
        self.layers = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Encoded:
        return Encoded(self.layers(x).mean(dim=(2, 3)))


# ---- the definitions, written plainly --------------------------------------------------------------------------------


def plain_scores(logits: Mapping[str, Tensor], targets: Tensor) -> dict[str, Tensor]:
    """The sum over samples of the target's probability, from the softmax of the batch for each of them."""
    rows = range(len(targets))
    return {name: torch.stack([z.softmax(dim=1)[i][int(targets[i])] for i in rows]).sum() for name, z in logits.items()}


class PlainOgmGe(Rule):
    """Two scores, then one parameter after the other."""

    def losses(self, forward: Forward) -> Tensor:
        assert forward.batch.targets is not None
        self.scores = plain_scores(forward.output.modality_logits, forward.batch.targets)
        return forward.total

    def after_backward(self, step: int) -> None:
        for name, other in (NAMES, NAMES[::-1]):
            ratio = float(self.scores[name].detach() / self.scores[other].detach())
            factor = 1 - float(torch.tanh(torch.tensor(0.8 * ratio))) if ratio > 1 else 1.0
            for parameter in self.context.encoder_parameters(name).values():
                if parameter.grad is not None and parameter.dim() in ((4,) if _is_conv(self.context, name) else (2, 4)):
                    noise = torch.zeros_like(parameter.grad).normal_(0, float(parameter.grad.std()) + 1e-8)
                    parameter.grad = parameter.grad * factor + noise


class PlainPmr(Rule):
    """Distances in a double loop."""

    def losses(self, forward: Forward) -> Tensor:
        targets = forward.batch.targets
        assert targets is not None
        similarities = {}
        for name in NAMES:
            features, prototypes = forward.output.encoded[name].pooled, self.prototypes[name]
            rows = [
                torch.stack([-(h - c).square().sum().sqrt() for c in prototypes.unbind()]) for h in features.unbind()
            ]
            similarities[name] = torch.stack(rows)
        scores = plain_scores(similarities, targets)
        weak = min(NAMES, key=lambda name: float(scores[name].detach()))
        return forward.total + cross_entropy(similarities[weak], targets)

    def __init__(self, context: RuleContext) -> None:
        super().__init__(context)
        device = next(context.model.parameters()).device
        generator = torch.Generator().manual_seed(0)
        self.prototypes = {name: torch.randn(CLASSES, DIM, generator=generator).to(device) for name in NAMES}


class PlainOpm(Rule):
    """Scores of the batch itself, sample by sample, then a drawn mask; losses of the rows that are left."""

    def on_encoded(self, features: Any, present: Any, batch: Batch) -> Any:
        assert batch.targets is not None
        _, logits = self.context.model.decide(features, present)
        scores = plain_scores(logits, batch.targets)
        ratios = {a: float(scores[a].detach() / scores[b].detach()) for a, b in (NAMES, NAMES[::-1])}
        chances = {
            name: 0.5 * (1 + 0.5 * float(torch.tanh(torch.tensor(r - 1)))) if r > 1 else 0.0
            for name, r in ratios.items()
        }
        theta = sum(chances.values()) / len(NAMES)
        kept = {
            name: torch.bernoulli(torch.full((len(batch), 1), 1 - q)).to(batch.index.device)
            for name, q in chances.items()
        }
        self.left = torch.stack([mask.squeeze(1) for mask in kept.values()]).sum(dim=0) > 0
        return {name: features[name] * kept[name] / (1 - theta) for name in NAMES}, present

    def losses(self, forward: Forward) -> Tensor:
        return forward.total * self.left * (len(self.left) / self.left.sum().clamp_min(1))


class PlainMla(Mla):
    """Every phase runs all encoders."""

    def view(self, batch: Batch) -> Batch:
        return batch


PLAIN: dict[str, type[Rule]] = {"ogm_ge": PlainOgmGe, "pmr": PlainPmr, "opm": PlainOpm, "mla": PlainMla}


def _is_conv(context: RuleContext, name: str) -> bool:
    return sum(p.dim() == 4 for p in context.encoder_parameters(name).values()) > 1


# ---- the measurement -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class One:
    """The same batch again and again."""

    batch: Batch

    def __len__(self) -> int:
        return 1

    @property
    def num_samples(self) -> int:
        return len(self.batch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        yield self.batch


def step_of(model: Classifier, rule: Rule, batch: Batch, device: str) -> Any:
    """A function that makes one step of the loop."""
    parameters = dict(model.named_parameters())

    def forward(seen: Batch) -> Forward:
        assert seen.targets is not None
        output = model(seen, edit=rule.on_encoded)
        fused = cross_entropy(output.logits, seen.targets)
        return Forward(seen, output, presence(seen, model.modalities), cross_entropy, fused, fused)

    work = Work(One(batch), forward, rule.to(device), lambda: {}, lambda: None)
    training = TrainConfig(epochs=1, batch_size=BATCH, optimiser="sgd", learning_rate=1e-4)
    loop = Loop(parameters, frozenset(), training, work, LoopSettings(SelectionConfig(), device=device))
    loop.progress.epoch = 1  # as in the second epoch, in which all the rules act

    def step() -> None:
        for phase in rule.phases():
            loop._step([batch], phase)

    return step


def contestants(rule: str, size: str, device: str) -> dict[str, Any]:
    """plain: joint training with the same fusion; ours; definition."""
    torch.manual_seed(0)
    kind = Small if size == "small" else Medium
    fusion = build_fusion("shared_head" if rule == "mla" else "concat", dict.fromkeys(NAMES, DIM), CLASSES, {})
    model = Classifier({name: kind() for name in NAMES}, {}, fusion).to(device).train()
    everyone = {name: torch.ones(BATCH, dtype=torch.bool) for name in NAMES}
    inputs = {name: torch.randn(BATCH, 3, 24, 24) for name in NAMES}
    index = torch.arange(BATCH)
    targets = torch.randint(CLASSES, (BATCH,))
    batch = Batch(tuple(map(str, range(BATCH))), index, dict(inputs), everyone, frozenset(NAMES), targets).to(device)
    steps = {}
    for who in ("plain", "ours", "definition"):
        own = copy.deepcopy(model)
        built = _rule(who, rule, _context(own))
        steps[who] = step_of(own, built, batch, device)
    return steps


def _context(model: Classifier) -> RuleContext:
    trained: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        trained.setdefault(part_of(name), {})[name] = parameter
    return RuleContext(
        model=model, trained=trained, sample_loss=cross_entropy, num_classes=CLASSES, multi_label=False, epochs=3
    )


def _rule(who: str, name: str, context: RuleContext) -> Rule:
    if who == "plain":
        return Rule(context)
    if who == "definition":
        return PLAIN[name](context)
    rule = build_rule(BalancingConfig(name=name, options=OPTIONS[name]), context)
    if isinstance(rule, Pmr):
        rule.prototypes.normal_(generator=torch.Generator().manual_seed(0))
        rule.known.fill_(True)
    if isinstance(rule, Opm):
        rule.scores.copy_(torch.tensor([0.3, 0.2]))
    return rule


def measure(steps: dict[str, Any], repeats: int, device: str, inner: int) -> dict[str, list[float]]:
    """Seconds of a step per contestant, in turns, after two turns that are not counted.

    Each turn is `inner` steps (of the definition one, which is slow enough).
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for turn in range(repeats + 2):
        for name, step in steps.items():
            count = 1 if name == "definition" else inner
            _wait(device)
            started = clock()
            for _ in range(count):
                step()
            _wait(device)
            if turn >= 2:
                times[name].append((clock() - started) / count)
    return times


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def entries(times: dict[str, list[float]], rule: str, size: str) -> list[dict[str, Any]]:
    """Ours over plain joint training, and the definition over ours."""
    ms = {name: 1000 * statistics.median(values) for name, values in times.items()}

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))

    over, faster = ratio("ours", "plain"), ratio("definition", "ours")
    added = {who: 1000 * statistics.median(_differences(times[who], times["plain"])) for who in ("ours", "definition")}
    more = added["definition"] / added["ours"]
    # Two optimiser steps instead of one: only MLA's definition is a measure of it.
    floor_target = None if rule == "mla" else PLAIN_TARGET[size]
    peer_target = None if rule == "mla" else PEER_TARGET[size]
    found = [
        {"name": f"{rule}, {size}: ours over joint training", "ours": ms["ours"], "floor": ms["plain"], "unit": "ms"}
        | {"ratio": over, "target": floor_target, "holds": None if floor_target is None else over <= floor_target},
        {"name": f"{rule}, {size}: definition over ours", "ours": ms["ours"], "peer": ms["definition"], "unit": "ms"}
        | {"ratio": faster, "target": None, "holds": None},
    ]
    if size == "medium":  # a difference of two long times says nothing
        return found
    name = f"{rule}, {size}: what the definition adds over what ours adds"
    row = {"name": name, "ours": added["ours"], "peer": added["definition"], "unit": "ms", "ratio": more}
    return [*found, row | {"target": peer_target, "holds": None if peer_target is None else more >= peer_target}]


def _differences(above: list[float], below: list[float]) -> list[float]:
    return [a - b for a, b in zip(above, below, strict=True)]


def main() -> None:
    """Prints the entries, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = arguments.device
    rows = []
    for size, inner in (("small", 5), ("medium", 1)):
        for rule in OPTIONS:
            times = measure(contestants(rule, size, device), arguments.repeats, device, inner)
            rows += entries(times, rule, size)
    machine = {
        "processor": torch.cuda.get_device_name() if device == "cuda" else processor_name(),
        "torch": torch.__version__,
        "threads": arguments.threads,
        "batch": BATCH,
        "classes": CLASSES,
        "dim": DIM,
    }
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
