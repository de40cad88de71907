"""A small classifier of two modalities, its data, and the work of training it: what the tests of the loop share."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from awase.balancing import Forward, Rule, RuleContext, build_rule
from awase.config import BalancingConfig, SelectionConfig, TrainConfig
from awase.distributed import ALONE
from awase.fusion import build_fusion
from awase.models import Classifier
from awase.models.encode import presence
from awase.models.parts import part_of
from awase.objectives import cross_entropy
from awase.training.loop import Loop, LoopSettings, Work
from awase.training.parts import freeze_except, match_parts, set_modes, trained_tensors
from awase.types import Batch, Encoded

WIDTHS = {"audio": 5, "video": 7}
DIM, CLASSES = 11, 3


class Adapted(nn.Module):
    """A linear layer with dropout and a product beside it, under the name that marks adapters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base = nn.Linear(width, DIM)
        self.lora = nn.Sequential(nn.Dropout(0.3), nn.Linear(width, DIM, bias=False))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.base(inputs) + self.lora(inputs)


class TinyEncoder(nn.Module):
    """An adapted layer, optionally a BatchNorm, dropout."""

    def __init__(self, width: int, norm: bool = True, dropout: float = 0.2) -> None:
        super().__init__()
        self.dim, self.num_blocks, self.cut = DIM, 1, 0
        self.layer = Adapted(width)
        self.norm = nn.BatchNorm1d(DIM) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def prefix(self, inputs: Tensor) -> Tensor:
        return inputs

    def suffix(self, hidden: Tensor) -> Encoded:
        return Encoded(self.dropout(self.norm(self.layer(hidden)).tanh()))

    def forward(self, inputs: Tensor) -> Encoded:
        return self.suffix(self.prefix(inputs))


def plain(model: nn.Module) -> nn.Module:
    """The model with every dropout switched off for good."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def tiny_model(fusion: str = "late_mean", norm: bool = True) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoders = {name: TinyEncoder(width, norm) for name, width in WIDTHS.items()}
        heads = {} if fusion == "concat" else {name: nn.Linear(DIM, CLASSES) for name in WIDTHS}
        return Classifier(encoders, heads, build_fusion(fusion, dict.fromkeys(WIDTHS, DIM), CLASSES, {}))


def samples(num: int, absent: float = 0.0, seed: int = 0) -> Batch:
    """Samples whose classes both modalities tell, with noise; a share lacks audio."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(CLASSES, (num,), generator=generator)
    inputs = {}
    for name, width in WIDTHS.items():
        centres = torch.randn(CLASSES, width, generator=torch.Generator().manual_seed(len(name) + width))
        inputs[name] = centres[targets] + 0.7 * torch.randn(num, width, generator=generator)
    audio = torch.rand(num, generator=generator) >= absent
    inputs["audio"] = inputs["audio"] * audio[:, None]
    present = {"audio": audio, "video": torch.ones(num, dtype=torch.bool)}
    complete = frozenset(name for name, mask in present.items() if bool(mask.all()))
    return Batch(tuple(f"s{i}" for i in range(num)), torch.arange(num), dict(inputs), present, complete, targets)


def picked(batch: Batch, rows: Tensor) -> Batch:
    present = {name: mask[rows] for name, mask in batch.present.items()}
    assert batch.targets is not None
    return Batch(
        tuple(batch.ids[i] for i in rows.tolist()),
        batch.index[rows],
        {name: value[rows] for name, value in batch.inputs.items()},
        present,
        frozenset(name for name, mask in present.items() if bool(mask.all())),
        batch.targets[rows],
    )


@dataclass(frozen=True)
class Batches:
    """Shuffled anew each epoch from the epoch's number; one process's share of every batch."""

    data: Batch
    batch_size: int
    rank: int = 0
    size: int = 1
    shuffled: bool = True

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    @property
    def num_samples(self) -> int:
        return len(self.data)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        order = torch.arange(len(self.data))
        if self.shuffled:
            order = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(epoch))
        for number in range(start, len(self)):
            rows = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield picked(self.data, rows.tensor_split(self.size)[self.rank])


def sample_losses(model: Classifier, batch: Batch) -> Tensor:
    return cross_entropy(model(batch).logits, batch.targets)


def forward_of(model: Classifier, batch: Batch, rule: Rule) -> Forward:
    """One forward pass as the runner makes it, with the loss of the fused logits alone."""
    output = model(batch, edit=rule.on_encoded)
    fused = cross_entropy(output.logits, batch.targets)
    return Forward(batch, output, presence(batch, model.modalities), cross_entropy, fused, fused)


def rule_context(model: Classifier, trained: tuple[str, ...], **facts: object) -> RuleContext:
    """What a rule is told about the model, as the runner tells it."""
    parts: dict[str, dict[str, nn.Parameter]] = {part: {} for part in trained}
    for name, parameter in model.named_parameters():
        if part_of(name) in parts:
            parts[part_of(name)][name] = parameter
    known = {"sample_loss": cross_entropy, "num_classes": CLASSES, "multi_label": False, "epochs": 3, **facts}
    return RuleContext(model=model, trained=parts, **known)


@torch.no_grad()
def metrics(model: Classifier, data: Batch) -> dict[str, float]:
    """Loss and accuracy in evaluation mode; the modes are put back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    logits = model(data).logits
    for module, mode in modes.items():
        module.training = mode
    return {
        "loss": float(cross_entropy(logits, data.targets).mean()),
        "accuracy": float((logits.argmax(dim=1) == data.targets).float().mean()),
    }


def make_loop(
    model: Classifier,
    config: TrainConfig,
    train: tuple[str, ...] = ("*.encoder", "*.head"),
    batches: Batches | None = None,
    rule: BalancingConfig | None = None,
    **settings: object,
) -> Loop:
    """The loop of one stage on the model, as the runner puts it together."""
    trained = match_parts(train, model.parts())
    freeze_except(model, trained)
    tensors = trained_tensors(model.parts(), trained)
    data = batches or Batches(samples(23, absent=0.3), config.batch_size)
    validation = samples(19, absent=0.3, seed=1)
    world = settings.get("world", ALONE)
    steps = -(-len(data) // config.accumulate)
    context = rule_context(model, trained, epochs=config.epochs, steps_per_epoch=steps, world=world)
    built = build_rule(rule, context)
    work = Work(
        batches=data,
        forward=lambda batch: forward_of(model, batch, built),
        rule=built,
        validate=lambda: metrics(model, validation),
        set_modes=lambda: set_modes(model, trained),
    )
    heads = frozenset(name for name in tensors if name.startswith(("heads.", "fusion.")))
    chosen = {"selection": SelectionConfig(), **settings}
    return Loop(tensors, heads, config, work, LoopSettings(**chosen))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """The same names and the same bits."""
    assert set(a) == set(b)
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert different == []
