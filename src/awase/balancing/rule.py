"""The points at which the one loop calls a balancing rule, and plain training: what happens where no rule says else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from awase.distributed import ALONE, World
from awase.models import Classifier
from awase.objectives import SampleLoss, modality_losses
from awase.types import Batch, ClassifierOutput

Features = Mapping[str, Float[Tensor, "batch _"]]
Presence = Mapping[str, Bool[Tensor, " batch"] | None]


@dataclass(frozen=True)
class Forward:
    """One forward pass in training, with the losses of every sample.

    `fused` is the unweighted loss of the fused logits; `total` the weighted sum of the stage's objective,
    distillation included: what is minimised where no rule says else. `batch` and `present` are what the encoders saw,
    whatever `on_encoded` made of it.
    """

    batch: Batch
    output: ClassifierOutput
    present: Presence
    sample_loss: SampleLoss
    fused: Float[Tensor, " batch"]
    total: Float[Tensor, " batch"]

    @cached_property
    def modality(self) -> dict[str, Float[Tensor, " batch"]]:
        """The unweighted loss of each modality's own logits, zero where the sample lacks it; made when asked for."""
        assert self.batch.targets is not None, "training rows have labels"
        return modality_losses(self.output.modality_logits, self.present, self.batch.targets, self.sample_loss)


@dataclass(frozen=True)
class RuleContext:
    """What a rule may know: the model it balances, the loss of one set of logits, the processes, seed and epochs.

    `trained` holds the parameters that learn, by part (`audio.encoder`, `audio.adapter`, `audio.head`, `fusion`) and
    name. `steps_per_epoch` counts the batches of an optimiser step once, however many phases a rule makes of it.
    """

    model: Classifier
    trained: Mapping[str, Mapping[str, nn.Parameter]]
    sample_loss: SampleLoss
    num_classes: int
    multi_label: bool
    epochs: int
    steps_per_epoch: int = 1
    seed: int = 0
    world: World = ALONE

    def encoder_parameters(self, modality: str) -> dict[str, nn.Parameter]:
        """The parameters that learn inside one modality's encoder, its adapters included."""
        own = [
            part
            for part in self.trained
            if part in (f"{modality}.encoder", f"{modality}.adapter") or part.startswith(f"{modality}.adapter.")
        ]
        return {name: value for part in own for name, value in self.trained[part].items()}


class Rule(nn.Module):
    """Plain training. A rule overrides what it changes; its buffers are its state and survive in checkpoints.

    Without a context it balances nothing; the loop then takes it through forward passes of any task, which have a
    `total` and, but for that, need not be a `Forward`. The order of a step: for each of `phases`: for each micro-batch
    `view`, `on_encoded` (inside the model), `statistics`, `observe` (of the sum over all processes), `losses`,
    `backward`; then, once the gradients are the mean over all samples of all processes, `after_backward`; then
    clipping, the optimiser's step and `after_step`.
    """

    def __init__(self, context: RuleContext | None = None) -> None:
        super().__init__()
        self._context = context

    @property
    def balances(self) -> bool:
        """Whether there is a classifier whose modalities can be balanced and watched."""
        return self._context is not None

    @property
    def context(self) -> RuleContext:
        """What the rule was told when it was built."""
        assert self._context is not None, "a rule that balances was given a context"
        return self._context

    def phases(self) -> tuple[str | None, ...]:
        """Names of the phases of a step, each with its own optimiser step; `None` is the usual one."""
        return (None,)

    def begin(self, epoch: int, phase: str | None) -> None:
        """Called before each step's forward passes with the epoch (from 0) and the phase."""

    def view(self, batch: Batch) -> Batch:
        """The batch as the forward pass of this phase sees it; the samples stay the same."""
        return batch

    def on_encoded(self, features: Features, present: Presence, batch: Batch) -> tuple[Features, Presence]:
        """The features and presence that go into the fusion in training."""
        return features, present

    def statistics(self, forward: Any) -> Float[Tensor, " statistics"] | None:
        """Sums over the samples of a micro-batch (`None`: this process has none of it) that all processes must know."""
        return None

    def observe(self, total: Float[Tensor, " statistics"]) -> None:
        """Takes the sum of `statistics` over all processes."""

    def losses(self, forward: Any) -> Float[Tensor, " batch"]:
        """The loss of each sample."""
        total: Tensor = forward.total
        return total

    def backward(self, forward: Any, losses: Float[Tensor, " batch"]) -> None:
        """Adds the gradient of the sum of the losses to the parameters' gradients; may run several passes."""
        losses.sum().backward()

    def extra_gradients(self) -> list[Tensor]:
        """Gradients that `backward` kept beside the parameters' own, to be averaged over all samples like those."""
        return []

    def after_backward(self, step: int) -> None:
        """May change the parameters' gradients before optimiser step number `step`, from 0."""

    def after_step(self) -> None:
        """May change the parameters once the optimiser has moved them, before they are averaged or saved."""

    def on_epoch_end(self, epoch: int) -> None:
        """Called on every process after the steps of an epoch."""

    def facts(self) -> dict[str, Any]:
        """What the stage's record keeps of it, fit for JSON."""
        return {}

    def generator(self, step: int, device: torch.device | str) -> torch.Generator:
        """Random numbers of one step: the same on all processes, and after an interruption."""
        seed = (self.context.seed * 0x9E3779B1 + step * 0x85EBCA6B) % (1 << 63)
        return torch.Generator(device).manual_seed(seed)


RuleFactory = Callable[..., Rule]
