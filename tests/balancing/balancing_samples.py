"""Models, batches and steps that the tests of the balancing rules share."""

from collections.abc import Callable
from dataclasses import replace

import torch
from process_pair import noted
from torch import Tensor, nn
from training_samples import CLASSES, DIM, Batches, TinyEncoder, forward_of, make_loop, plain, rule_context, samples

from awase.balancing import Forward, Rule
from awase.config import BalancingConfig, TrainConfig
from awase.fusion import build_fusion, needs_heads
from awase.models import Classifier
from awase.types import Batch, Encoded

TWO = {"audio": 5, "video": 7}
THREE = {"audio": 5, "text": 3, "video": 7}
STEP = TrainConfig(
    epochs=1, batch_size=23, optimiser="sgd", momentum=0.0, learning_rate=0.1, weight_decay=0.0, schedule="constant"
)


class ConvEncoder(nn.Module):
    """Two convolutions and a linear layer on rows seen as small pictures."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim, self.num_blocks, self.cut = DIM, 1, 0
        self.first, self.second = nn.Conv2d(1, 3, (1, 3), padding=(0, 1)), nn.Conv2d(3, 2, 1)
        self.norm = nn.BatchNorm2d(2)
        self.linear = nn.Linear(2 * width, DIM)

    def prefix(self, inputs: Tensor) -> Tensor:
        return inputs

    def suffix(self, hidden: Tensor) -> Encoded:
        pictures = self.norm(self.second(self.first(hidden[:, None, None]).tanh()))
        return Encoded(self.linear(pictures.flatten(1)))

    def forward(self, inputs: Tensor) -> Encoded:
        return self.suffix(self.prefix(inputs))


def plain_encoder(width: int) -> nn.Module:
    """Without batch statistics."""
    return TinyEncoder(width, norm=False)


def model_of(
    fusion: str,
    widths: dict[str, int] = TWO,
    *,
    own_heads: bool = False,
    encoder: Callable[[int], nn.Module] = plain_encoder,
    options: dict[str, object] | None = None,
    multi_label: bool = False,
) -> Classifier:
    """A model without dropout or batch statistics, its weights the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoders = {name: encoder(width) for name, width in widths.items()}
        heads = {name: nn.Linear(DIM, CLASSES) for name in widths} if own_heads or needs_heads(fusion) else {}
        built = build_fusion(fusion, dict.fromkeys(widths, DIM), CLASSES, options or {}, multi_label)
        return plain(Classifier(encoders, heads, built))


def parts_of(model: Classifier) -> tuple[str, ...]:
    """Everything the model has to train."""
    return tuple(model.parts())


def batch_of(num: int, widths: dict[str, int] = TWO, seed: int = 0, targets: Tensor | None = None) -> Batch:
    """Samples of which about a third lack each modality but the last."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (num,), generator=generator) if targets is None else targets
    last = list(widths)[-1]
    present = {name: torch.rand(num, generator=generator) > 0.3 * (name != last) for name in widths}
    inputs = {
        name: torch.randn(num, width, generator=generator) * present[name][:, None] for name, width in widths.items()
    }
    complete = frozenset(name for name, mask in present.items() if bool(mask.all()))
    return Batch(tuple(f"s{i}" for i in range(num)), torch.arange(num), dict(inputs), present, complete, labels)


def without(batch: Batch, name: str) -> Batch:
    """The batch without one modality."""
    nobody = torch.zeros(len(batch), dtype=torch.bool)
    inputs = {**batch.inputs, name: torch.zeros_like(batch.inputs[name])}
    return replace(batch, inputs=inputs, present={**batch.present, name: nobody}, complete=batch.complete - {name})


def part_of_step(rule: Rule, model: Classifier, batch: Batch) -> tuple[Forward, Tensor]:
    """Forward and backward of one micro-batch, as the loop does it; the losses of its samples."""
    forward = forward_of(model, rule.view(batch), rule)
    statistics = rule.statistics(forward)
    if statistics is not None:
        rule.observe(statistics)
    losses = rule.losses(forward)
    rule.backward(forward, losses)
    return forward, losses.detach()


def context_of(model: Classifier, **facts: object):
    return rule_context(model, parts_of(model), **facts)


def trained_steps(
    model: Classifier, rule: BalancingConfig | None, config: TrainConfig = STEP, batches: Batches | None = None, **more
) -> list[dict[str, Tensor]]:
    """The gradients before each optimiser step of a whole training through the loop."""
    data = batches or Batches(samples(23, absent=0.3), config.batch_size)
    loop = make_loop(model, config, parts_of(model), data, rule=rule, **more)
    return noted(loop)
