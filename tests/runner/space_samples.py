"""A whole space step on tensors, without files: towers of a layer each, and a data set of two or three modalities."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from awase.adapters import Bank
from awase.config import AdapterConfig, RetrievalConfig, Runtime, SelectionConfig, StageConfig, TrainConfig
from awase.data import Dataset
from awase.distributed import ALONE, World
from awase.encoders import reconstruction_head
from awase.models import Retrieval
from awase.runner.known import KnownFeatures
from awase.runner.setting import Setting
from awase.runner.space_kept import Kept, kept_of
from awase.runner.space_state import SpaceState
from awase.runner.space_work import EpochRule, SpaceStep
from awase.training.loop import Loop, LoopSettings, Work
from awase.training.parts import freeze_except, match_parts, set_modes, trained_tensors
from awase.types import Batch, Encoded, Loader

WIDTHS = {"v": 5, "a": 7, "t": 3}
DIM, NUM_CLUSTERS = 11, 3
TERMS: dict[str, Any] = {
    "space": {"dim": DIM, "reconstruction": 13},
    "clustering": {"num_clusters": NUM_CLUSTERS, "queue_rows": 8, "refit_every": 2},
    "pairs": {"a+v": 1.0, "t+v": 1.0, "a+t": 1.0},
}


class Layer(nn.Module):
    """An encoder of one layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim, self.num_blocks, self.cut = width + 2, 1, 0
        self.layer = nn.Linear(width, self.dim)

    def forward(self, inputs: Tensor) -> Encoded:
        return Encoded(self.layer(inputs).relu())


def stage_of(**changes: Any) -> StageConfig:
    config = RetrievalConfig.model_validate({**TERMS, **changes})
    kinds = ("encoder", "head", "reconstruction")
    adapters = ("*.adapter.*",) if config.combinations is not None else ()
    train = (*(f"{name}.{kind}" for name in WIDTHS for kind in kinds), *adapters, "objective")
    training = TrainConfig(epochs=3, batch_size=6, learning_rate=1e-2, select="last")
    return StageConfig(name="joint", modalities=tuple(WIDTHS), train=train, retrieval=config, training=training)


def model_of(stage: StageConfig) -> Retrieval:
    assert stage.retrieval is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        encoders = {name: Layer(width) for name, width in WIDTHS.items()}
        projections = {name: nn.Linear(encoder.dim, DIM) for name, encoder in encoders.items()}
        heads = {name: reconstruction_head(DIM, 13, encoder.dim) for name, encoder in encoders.items()}
        combinations = stage.retrieval.combinations
        keys = () if combinations is None else combinations.keys
        for seed, key in enumerate(keys):
            for name in key.split("+"):
                Bank.inject(projections[name], AdapterConfig(targets="*", rank=2), key=key, seed=seed).activate(None)
        return Retrieval(encoders, projections, heads, SpaceState(stage.retrieval, 3), keys)


def rows_of(num: int, absent: float = 0.0, seed: int = 0) -> Batch:
    """Samples of which every modality is absent from a share, and then holds something that is no number."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num, 4, generator=generator)
    inputs, present = dict[str, Tensor](), dict[str, Tensor]()
    for name, width in WIDTHS.items():
        inputs[name] = hidden @ torch.randn(4, width, generator=generator)
        present[name] = torch.rand(num, generator=generator) >= absent
        inputs[name][~present[name]] = torch.nan
    complete = frozenset(name for name, mask in present.items() if bool(mask.all()))
    return Batch(tuple(f"s{i}" for i in range(num)), torch.arange(num), dict(inputs), present, complete, None)


def taken(batch: Batch, rows: Tensor) -> Batch:
    present = {name: mask[rows] for name, mask in batch.present.items()}
    inputs = {name: value[rows] for name, value in batch.inputs.items() if isinstance(value, Tensor)}
    complete = frozenset(name for name, mask in present.items() if bool(mask.all()))
    ids = tuple(batch.ids[row] for row in rows.tolist())
    return Batch(ids, batch.index[rows], dict(inputs), present, complete, None)


@dataclass
class Shares:
    """Batches in order; a process has the first or the second part of each, in the order of one process."""

    data: Batch
    size: int
    world: World = ALONE
    shares: tuple[int, ...] = field(default=(4,))

    @property
    def num_samples(self) -> int:
        return len(self.data)

    def __len__(self) -> int:
        return -(-len(self.data) // self.size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for number in range(start, len(self)):
            rows = torch.arange(number * self.size, min(len(self.data), (number + 1) * self.size))
            if self.world.size > 1:
                cut = min(self.shares[number % len(self.shares)], len(rows))
                rows = rows[:cut] if self.world.rank == 0 else rows[cut:]
            yield taken(self.data, rows)


def slow_mms(x: Tensor, y: Tensor, there: list[int], margin: float) -> Tensor:
    """-(1/n) sum_i [log softmax_row(S')_ii + log softmax_column(S')_ii] over the samples that have both."""
    total = torch.zeros(())
    for i in there:
        own = x[i] @ y[i] - margin
        row = sum((x[i] @ y[j] - margin * (i == j)).exp() for j in there)
        column = sum((x[j] @ y[i] - margin * (i == j)).exp() for j in there)
        total = total + row.log() + column.log() - 2 * own
    return total / max(1, len(there))


def step_of(model: Retrieval, stage: StageConfig, world: World = ALONE, kept: Kept | None = None) -> SpaceStep:
    """The step without data behind it: of the setting it needs these, and nothing is known beforehand.

    The policies are those of the stage, whose teacher is the model as it is now, or `kept`.
    """
    setting, known = Setting.__new__(Setting), KnownFeatures.__new__(KnownFeatures)
    vars(setting).update(
        seed=0, world=world, device="cpu", runtime=Runtime(device="cpu"), dataset=Dataset.__new__(Dataset)
    )
    known.names = {"train": set()}
    return SpaceStep(model, stage, known, setting, kept or kept_of(model, stage, stage.train, known, setting))


def loop_of(model: Retrieval, stage: StageConfig, batches: Loader, world: World = ALONE) -> Loop:
    trained = match_parts(stage.train, model.parts())
    freeze_except(model, trained)
    step = step_of(model, stage, world)
    work = Work(
        batches=batches,
        forward=step,
        rule=EpochRule(step.state, step.kept, step.draw),
        validate=lambda: {"loss": 0.0, "R@1": 0.0},
        set_modes=lambda: set_modes(model, trained),
        collective=world.size > 1,
    )
    settings = LoopSettings(selection=SelectionConfig(metric="R@1"), world=world)
    return Loop(trained_tensors(model.parts(), trained), frozenset(), stage.training, work, settings)
