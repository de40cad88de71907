"""What a stage adds to its step so that the pairs of earlier stages stay together."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from awase.config import KeptConfig, RetrievalConfig, StageConfig
from awase.config.policies import (
    CkcPolicy,
    DnsPolicy,
    EwcPolicy,
    FeatureDistillation,
    LowRankPolicy,
    ReplayPolicy,
    SimilarityDistillation,
)
from awase.distributed import World
from awase.models import Retrieval
from awase.models.encode import presence
from awase.models.parts import part_of
from awase.objectives import (
    ckc,
    elastic_penalty,
    feature_distance,
    orthogonality,
    pair_losses,
    similarity_distillation,
)
from awase.objectives.presence import all_of
from awase.runner.build import build_retrieval
from awase.runner.known import Known, standing_still
from awase.runner.low_rank import adapted_layers, begin_directions, learned_directions
from awase.runner.setting import Setting
from awase.runner.space_fisher import pairs_fisher
from awase.runner.space_null import NullSpace, null_space
from awase.runner.space_scores import uses_cosine
from awase.runner.space_state import SpaceState
from awase.runner.space_teacher import Teacher
from awase.types import Batch, RetrievalOutput

Presence = Mapping[str, Bool[Tensor, " batch"] | None]
TAUGHT = ("feature_distillation", "similarity_distillation", "ckc")
"""The policies that ask what the old model gives."""


@dataclass(frozen=True)
class Elastic:
    """Parameters, what they were when the stage began, and what they mattered then."""

    parameters: Mapping[str, nn.Parameter]
    anchors: Mapping[str, Tensor]
    fisher: Mapping[str, Tensor]


@dataclass(frozen=True)
class Reading:
    """What the adapters of the old towers read, and the directions along which earlier stages learned, by layer."""

    adapters: Mapping[str, Tensor]
    learned: Mapping[str, Tensor]


@dataclass(frozen=True)
class Pass:
    """What the terms are of: new and old embeddings, and who has what, replayed samples among them."""

    new: Mapping[str, Tensor]
    old: Mapping[str, Tensor]
    present: Presence
    batch: Batch


class Kept:
    """The terms of the policies of a stage. Teacher and anchors are those of the weights at its beginning."""

    def __init__(
        self,
        config: RetrievalConfig,
        state: SpaceState,
        world: World,
        teacher: Teacher | None = None,
        elastic: Elastic | None = None,
        heads: NullSpace | None = None,
        reading: Reading | None = None,
    ) -> None:
        assert config.kept is not None, "the stage has policies"
        self.space, self.kept, self.state, self.world = config, config.kept, state, world
        self.teacher, self.elastic, self.heads, self.reading = teacher, elastic, heads, reading
        self._terms: dict[str, Callable[[Any, Pass], Tensor]] = {
            "feature_distillation": self._features,
            "similarity_distillation": self._similarities,
            "ckc": self._ckc,
            "replay": self._replay,
            "ewc": self._ewc,
            "low_rank": self._orthogonal,
        }

    def taught(self, batch: Batch, output: RetrievalOutput) -> dict[str, Tensor]:
        """The old embeddings of the old modalities; none where no policy asks for them."""
        return {} if self.teacher is None else self.teacher(batch, output.encoded)

    def terms(self, seen: Pass) -> dict[str, Tensor]:
        """Each policy's weighted term per sample, under its name."""
        return {
            policy.name: policy.weight * self._terms[policy.name](policy, seen)
            for policy in self.kept.policies
            if not isinstance(policy, DnsPolicy) and policy.weight  # else it changes what learns, not the loss
        }

    def after_step(self) -> None:
        """Takes back what heads must not change."""
        if self.heads is not None:
            self.heads.hold()

    def _features(self, policy: FeatureDistillation, seen: Pass) -> Tensor:
        measure = policy.measure or ("cosine" if uses_cosine(self.space) else "squared")
        return feature_distance(seen.new, seen.old, seen.present, measure=measure)

    def _similarities(self, policy: SimilarityDistillation, seen: Pass) -> Tensor:
        losses = []
        for pair in self.kept.pairs:
            x, y = pair.split("+")
            losses.append(
                similarity_distillation(
                    (seen.new[x], seen.new[y]),
                    (seen.old[x], seen.old[y]),
                    temperature=self._temperature(policy),
                    softening=policy.softening,
                    present=all_of([seen.present[x], seen.present[y]]),
                    world=self.world,
                )
            )
        return sum(losses[1:], start=losses[0])

    def _ckc(self, policy: CkcPolicy, seen: Pass) -> Tensor:
        assert self.state.projector is not None, "the state was built for it"
        projected = {name: self.state.projector(seen.new[name]) for name in seen.old}
        return ckc(projected, seen.old, seen.present, temperature=self._temperature(policy), world=self.world)

    def _replay(self, policy: ReplayPolicy, seen: Pass) -> Tensor:
        assert seen.batch.replayed is not None, "the loader gives the reservoir's samples too"
        present = {name: all_of([mask, seen.batch.replayed]) for name, mask in seen.present.items()}
        losses = pair_losses(seen.new, present, self.state.contrast(), self.kept.pairs, world=self.world)
        return sum(list(losses.values())[1:], start=next(iter(losses.values())))

    def _ewc(self, policy: EwcPolicy, seen: Pass) -> Tensor:
        """Of the weights alone: the same for every sample, so that its mean over samples is the penalty."""
        assert self.elastic is not None, "it was measured when the stage began"
        one = self.elastic
        return elastic_penalty(one.parameters, one.anchors, one.fisher, strength=1.0).expand(len(seen.batch))

    def _orthogonal(self, policy: LowRankPolicy, seen: Pass) -> Tensor:
        """Of the weights alone, as `_ewc`."""
        assert self.reading is not None, "it was measured when the stage began"
        one = self.reading
        return orthogonality(one.adapters, [one.learned], strength=1.0).expand(len(seen.batch))

    def _temperature(self, policy: SimilarityDistillation | CkcPolicy) -> Tensor | float:
        now = self.state.temperature if policy.temperature is None else policy.temperature
        return now.detach() if isinstance(now, Tensor) else now


def kept_of(
    model: Retrieval,
    stage: StageConfig,
    trained: tuple[str, ...],
    known: Known,
    setting: Setting,
    before: Setting | None = None,
) -> Kept | None:
    """What the stage's policies add to its step; None where it has none. To be called before its first step.

    `before` is the setting with the rows of earlier stages; None: the stage has the same rows, and new modalities.
    """
    earlier = setting if before is None else before
    config = stage.retrieval
    assert config is not None, "the stage has a joint space"
    if config.kept is None:
        return None
    assert isinstance(model.objective, SpaceState), "the runner built the model"
    kept = config.kept
    teacher = None
    if set(TAUGHT) & set(kept.names):
        teacher = Teacher(model, kept.modalities, standing_still(stage, trained))
    elastic = heads = reading = None
    for policy in kept.policies:
        if isinstance(policy, EwcPolicy):
            elastic = elastic_of(model, stage, policy, known, earlier)
        elif isinstance(policy, DnsPolicy):
            old = old_batches(stage, kept, known, earlier)
            threshold, device = policy.threshold, setting.device
            heads = null_space(model, kept.pairs, old, threshold=threshold, known=known, device=device)
        elif isinstance(policy, LowRankPolicy):
            begin_directions(
                model,
                adapted_layers(model, kept.modalities),
                policy,
                partial(pairs_loss, model, config.pairs, known),
                lambda: every_batch(stage, known, setting),
                None if earlier.dataset is setting.dataset else lambda: every_batch(stage, known, earlier),
                device=setting.device,
            )
            reading = reading_of(model, stage, policy, setting) if policy.weight else None
    return Kept(config, model.objective, setting.world, teacher, elastic, heads, reading)


def pairs_loss(model: Retrieval, pairs: Mapping[str, float], known: Known, batch: Batch) -> Tensor:
    """The mean over the samples of a batch of the sum of their pair losses."""
    assert isinstance(model.objective, SpaceState), "the runner built the model"
    output = model(batch, known=known.of(batch, "train"))
    terms = pair_losses(output.embeddings, presence(batch, model.modalities), model.objective.contrast(), pairs)
    return torch.stack(list(terms.values())).sum(dim=0).mean()


def old_batches(
    stage: StageConfig, kept: KeptConfig, known: Known, setting: Setting, *, train: bool = False
) -> Iterator[Batch]:
    """Whole batches of the old modalities of all training samples, the same on every process.

    With `train` in the order and with the augmentation of the first epoch.
    """
    missing = known.missing("train")
    loader = setting.dataset.loader(
        "train",
        batch_size=stage.training.batch_size,
        modalities=kept.modalities,
        inputs=[name for name in kept.modalities if name in missing],
        seed=setting.seed,
        train=train,
    )
    return loader.epoch(0)


def every_batch(stage: StageConfig, known: Known, setting: Setting) -> Iterator[Batch]:
    """Whole batches of all training samples in their order, without augmentation, the same on every process."""
    loader = setting.dataset.loader(
        "train",
        batch_size=stage.training.batch_size,
        modalities=stage.modalities,
        inputs=known.missing("train"),
        seed=setting.seed,
    )
    return loader.epoch(0)


def elastic_of(model: Retrieval, stage: StageConfig, policy: EwcPolicy, known: Known, setting: Setting) -> Elastic:
    """The parameters of the old towers that learn, as they are now, with their Fisher information on training."""
    config = stage.retrieval
    assert config is not None, "the stage has a joint space"
    assert config.kept is not None, "the stage has policies"
    assert isinstance(model.objective, SpaceState), "the runner built the model"
    kept = config.kept
    parameters = old_parameters(model, kept)
    loss = model.objective.contrast()
    batches = old_batches(stage, kept, known, setting, train=True)  # shuffled: a sample's negatives are of all kinds
    fisher = pairs_fisher(
        model, parameters, batches, loss, kept.pairs, known=known, samples=policy.samples, device=setting.device
    )
    anchors = {name: parameters[name].detach().clone() for name in fisher}
    return Elastic(parameters, anchors, fisher)


def reading_of(model: Retrieval, stage: StageConfig, policy: LowRankPolicy, setting: Setting) -> Reading:
    """The matrices A of the old towers' adapters, and what their layers have learned since the initial weights."""
    assert stage.retrieval is not None, "the stage has a joint space"
    assert stage.retrieval.kept is not None, "the stage has policies"
    layers = adapted_layers(model, stage.retrieval.kept.modalities)
    learned = learned_directions(layers, build_retrieval(stage, setting.spec), policy.rank)
    return Reading({name: adapter.A for name, (_, adapter) in layers.items()}, learned)


def old_parameters(model: Retrieval, kept: KeptConfig) -> dict[str, nn.Parameter]:
    """The parameters of the old encoders, heads and adapters that learn."""
    parts = {f"{name}.{kind}" for name in kept.modalities for kind in ("encoder", "head", "adapter")}
    return {name: value for name, value in model.named_parameters() if value.requires_grad and part_of(name) in parts}
