"""The one loop: batches in, weights out, resumable at any step with the same bits.

A stage is driven by `Work`: where its batches come from, what they cost and how the model is validated. The loop owns
the optimiser, the schedule, averaging, the choice of the epoch and the checkpoints, and nothing else.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from awase.balancing import Rule
from awase.config import SelectionConfig, TrainConfig
from awase.distributed import ALONE, World
from awase.models.parts import part_of
from awase.records import Epoch
from awase.training.average import WeightAverage
from awase.training.checkpoint import Checkpoint, CheckpointWriter
from awase.training.divergence import LossesNoted, check_weights
from awase.training.observed import Observed
from awase.training.optimisers import (
    build_optimiser,
    load_optimiser_tensors,
    optimiser_tensors,
    rate_factor,
    set_rate,
)
from awase.types import Batch, Loader


@dataclass(frozen=True)
class Work:
    """What a stage does with the loop: batches, the losses of a batch, the rule that balances them, and validation."""

    batches: Loader
    forward: Callable[[Batch], Any]
    """A `Forward`, or of a task without classes anything with the `total` losses of its samples."""
    rule: Rule
    validate: Callable[[], dict[str, float]]
    set_modes: Callable[[], None]
    collective: bool = False
    """Whether the losses of a batch are of the samples of all processes: then a process without a share of it must
    make the forward and backward pass all the same."""


@dataclass(frozen=True)
class LoopSettings:
    """Where and how the loop runs. None of it changes a number but `device`."""

    selection: SelectionConfig
    device: str = "cpu"
    world: World = ALONE
    writer: CheckpointWriter | None = None
    checkpoint_every_s: float = 60.0
    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    on_step: Callable[[], None] = lambda: None


@dataclass
class Progress:
    """How far the stage is; survives in the checkpoint."""

    epoch: int = 0
    batch: int = 0
    optimiser_step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    epoch_seconds: float = 0.0
    best_epoch: int | None = None
    best_value: float | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class LoopResult:
    """How the training went; the chosen weights are in the model."""

    curve: tuple[Epoch, ...]
    best_epoch: int
    """The best one on validation; `select="last"` keeps the last one all the same."""
    still_improving: bool


class Loop:
    """Trains the given parameters of a model and leaves the chosen weights in it."""

    def __init__(
        self,
        trained: Mapping[str, Tensor],
        heads: frozenset[str],
        config: TrainConfig,
        work: Work,
        settings: LoopSettings,
    ) -> None:
        self.tensors = dict(trained)
        self.parameters = {name: value for name, value in trained.items() if isinstance(value, nn.Parameter)}
        self.config = config
        self.work = work
        self.settings = settings
        self.optimiser = build_optimiser(self.parameters, heads, config)
        self.averaged = {name: value for name, value in self.tensors.items() if _is_averaged(name, value)}
        self.average = WeightAverage(self.averaged, config.average_decay) if config.average == "ema" else None
        self.observed = Observed(work.rule, self.parameters)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.steps_per_epoch = -(-len(work.batches) // config.accumulate)
        self.losses = LossesNoted(settings.device)
        self._saved_at = time.monotonic()

    def run(self, checkpoint: Checkpoint | None = None) -> LoopResult:
        """Trains to the end, from `checkpoint` where one is given.

        Raises `TrainingDivergedError`, naming the step and the samples, when a loss is not finite.
        """
        if checkpoint is not None:
            self._restore(checkpoint)
        while self.progress.epoch < self.config.epochs and not self._should_stop():
            self._train_epoch()
            self._finish_epoch()
            self._save()
        chosen = self.best if self.config.select == "best" else self._current()
        if chosen is not self.tensors:
            copy_tensors(chosen, self.tensors)
        return self._result()

    # ---- one epoch -----------------------------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        self.work.set_modes()
        started = time.monotonic() - self.progress.epoch_seconds
        progress = self.progress
        num_batches = len(self.work.batches)
        waiting: list[Batch] = []
        for batch in self.work.batches.epoch(progress.epoch, start=progress.batch):
            waiting.append(batch.to(self.settings.device))
            progress.batch += 1
            if progress.batch % self.config.accumulate == 0 or progress.batch == num_batches:
                for phase in self.work.rule.phases():
                    self._step(waiting, phase)
                waiting = []
                progress.epoch_seconds = time.monotonic() - started
                if progress.batch < num_batches and self._checkpoint_is_due():
                    self._save()
        self._check_losses()
        self.work.rule.on_epoch_end(progress.epoch)
        progress.epoch_seconds = time.monotonic() - started

    def _step(self, batches: Sequence[Batch], phase: str | None) -> None:
        """One optimiser step on the mean gradient over the samples of the batches, on all processes."""
        progress, rule = self.progress, self.work.rule
        rule.begin(progress.epoch, phase)
        for batch in batches:
            self._add_gradients(batch)
        self._average_gradients(sum(len(batch) for batch in batches))
        rule.after_backward(progress.optimiser_step)
        self.observed.note_gradients()
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(list(self.parameters.values()), self.config.clip_norm)
        steps = self.steps_per_epoch * len(rule.phases())
        set_rate(self.optimiser, rate_factor(progress.optimiser_step, steps, self.config))
        self.optimiser.step()
        rule.after_step()
        self.optimiser.zero_grad(set_to_none=True)
        progress.optimiser_step += 1
        if self.average is not None:
            self.average.update(self.averaged)
        self.settings.on_step()

    def _add_gradients(self, batch: Batch) -> None:
        """Forward and backward of one micro-batch; a process may have no share of a small last one."""
        rule = self.work.rule
        forward = self.work.forward(rule.view(batch)) if len(batch) or self.work.collective else None
        statistics = rule.statistics(forward)
        if statistics is not None:
            self.settings.world.sum_([statistics])
            rule.observe(statistics)
        if forward is None:
            return
        losses = rule.losses(forward)
        if losses.requires_grad:  # not where every sample lacks the modalities that learn
            rule.backward(forward, losses)
        self.observed.note_scores(forward)
        self.losses.note(self.progress.optimiser_step, batch, losses.detach())
        if self.losses.is_due:
            self._check_losses()

    def _average_gradients(self, samples: int) -> None:
        """Every gradient there is becomes the mean over the samples of all processes.

        A parameter that no sample of this process reaches (its modality is absent) may be reached elsewhere.
        """
        parameters = list(self.parameters.values())
        extra = self.work.rule.extra_gradients()
        count: Tensor | float = float(samples)
        if self.settings.world.size > 1:
            reached = [float(p.grad is not None) for p in parameters]
            totals = torch.tensor([*reached, float(samples)], device=self.settings.device)
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self.settings.world.sum_([*(p.grad for p in parameters if p.grad is not None), *extra, totals])
            for parameter, total in zip(parameters, totals.tolist(), strict=False):
                parameter.grad = parameter.grad if total > 0 else None
            count = totals[-1]
        gradients = [*(p.grad for p in parameters if p.grad is not None), *extra]
        if gradients:
            torch._foreach_div_(gradients, count)

    def _check_losses(self) -> None:
        for total, count in self.losses.take(self.progress.epoch):
            self.progress.loss_sum += total
            self.progress.loss_count += count

    def _finish_epoch(self) -> None:
        progress = self.progress
        totals = torch.tensor([progress.loss_sum, float(progress.loss_count)], dtype=torch.float64)
        self.settings.world.sum_([totals])
        metrics = self._validate()
        value = metrics[self.settings.selection.metric]
        entry = Epoch(
            epoch=progress.epoch,
            train_loss=float(totals[0] / totals[1]),
            val_loss=metrics["loss"],
            val_metric=value,
            learning_rate=self.optimiser.param_groups[0]["lr"],
            seconds=progress.epoch_seconds,
            metrics=metrics,
            **self.observed.means(self.settings.world),
        )
        progress.curve.append(entry.model_dump())
        if self._is_better(value):
            progress.best_epoch, progress.best_value = progress.epoch, value
            if self.config.select == "best":
                self.best = {name: tensor.detach().clone() for name, tensor in self._current().items()}
        progress.epoch += 1
        progress.batch = progress.loss_count = 0
        progress.loss_sum = progress.epoch_seconds = 0.0
        self.settings.on_epoch(entry)

    def _validate(self) -> dict[str, float]:
        """Validation of the weights that would be kept: the average where there is one."""
        if self.average is None:
            return self.work.validate()
        own = {name: tensor.detach().clone() for name, tensor in self.averaged.items()}
        copy_tensors(self.average.tensors, self.tensors)
        try:
            return self.work.validate()
        finally:
            copy_tensors(own, self.tensors)

    def _current(self) -> Mapping[str, Tensor]:
        return self.tensors if self.average is None else self.average.tensors

    def _is_better(self, value: float) -> bool:
        best = self.progress.best_value
        if best is None or math.isnan(best):
            return True
        return value > best if self.settings.selection.direction == "max" else value < best

    def _should_stop(self) -> bool:
        patience, best = self.config.early_stopping, self.progress.best_epoch
        return patience is not None and best is not None and self.progress.epoch - 1 - best >= patience

    def _result(self) -> LoopResult:
        curve = tuple(Epoch(**entry) for entry in self.progress.curve)
        assert self.progress.best_epoch is not None, "a stage trains at least one epoch"
        tail = max(1, self.config.epochs // 10)
        improving = len(curve) == self.config.epochs and self.progress.best_epoch >= self.config.epochs - tail
        return LoopResult(curve, self.progress.best_epoch, improving and self.config.epochs > 1)

    # ---- checkpoints ---------------------------------------------------------------------------------------------

    def _checkpoint_is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self.settings.checkpoint_every_s

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self.settings.writer is None or not self.settings.world.is_first:
            return
        self._check_losses()
        check_weights(self.tensors, self.progress.optimiser_step, self.progress.epoch)
        tensors = {f"weights|{name}": value for name, value in self.tensors.items()}
        tensors |= {f"best|{name}": value for name, value in self.best.items()}
        state = optimiser_tensors(self.optimiser, self.parameters)
        tensors |= {f"optimiser|{name}": value for name, value in state.items()}
        if self.average is not None:
            tensors |= {f"average|{name}": value for name, value in self.average.tensors.items()}
        tensors |= {f"rule|{name}": value for name, value in self.work.rule.state_dict().items()}
        tensors |= {f"observed|{name}": value for name, value in self.observed.sums.items()}
        tensors["random|cpu"] = torch.get_rng_state()
        if self.settings.device.startswith("cuda"):
            tensors["random|cuda"] = torch.cuda.get_rng_state()
        facts = {"progress": asdict(self.progress), "updates": self.average.num_updates if self.average else 0}
        self.settings.writer.save(tensors, facts)

    def _restore(self, checkpoint: Checkpoint) -> None:
        groups: dict[str, dict[str, Tensor]] = {}
        for key, value in checkpoint.tensors.items():
            kind, name = key.split("|", 1)
            groups.setdefault(kind, {})[name] = value
        copy_tensors(groups["weights"], self.tensors)
        device = self.settings.device
        self.best = {name: value.to(device) for name, value in groups.get("best", {}).items()}
        load_optimiser_tensors(self.optimiser, self.parameters, groups.get("optimiser", {}))
        self.work.rule.load_state_dict(groups.get("rule", {}))
        copy_tensors(groups.get("observed", {}), self.observed.sums)
        if self.average is not None:
            copy_tensors(groups["average"], self.average.tensors)
            self.average.num_updates = checkpoint.facts["updates"]
        torch.set_rng_state(groups["random"]["cpu"])
        if "cuda" in groups["random"]:
            torch.cuda.set_rng_state(groups["random"]["cuda"])
        self.progress = Progress(**checkpoint.facts["progress"])
        for entry in self.progress.curve:
            self.settings.on_epoch(Epoch(**entry))


def _is_averaged(name: str, tensor: Tensor) -> bool:
    """Whether averaging the weights takes in a tensor: not what an objective remembers, a queue or centroids."""
    return isinstance(tensor, nn.Parameter) or part_of(name) != "objective"


@torch.no_grad()
def copy_tensors(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Copies every tensor of `source` into the tensor of `target` with the same name."""
    for name, value in source.items():
        target[name].copy_(value)
