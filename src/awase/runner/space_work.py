"""What a stage in a joint space gives the loop: batches, losses, validation."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from awase.balancing import Rule
from awase.config import RetrievalConfig, StageConfig
from awase.data import Dataset
from awase.data.features import ClipDataset
from awase.distributed import World
from awase.models import Retrieval
from awase.models.encode import presence
from awase.objectives import (
    Candidates,
    ClusterMemory,
    PairLoss,
    centroid_contrast,
    fused_mean,
    pair_losses,
    reconstruction,
)
from awase.objectives.presence import all_of
from awase.runner.key_draw import KeyDraw
from awase.runner.known import Known, autocast, of_stage
from awase.runner.known_below import with_below
from awase.runner.known_clips import clips_of_stage
from awase.runner.setting import Setting
from awase.runner.space_kept import Kept, Pass, kept_of
from awase.runner.space_replay import replayed
from awase.runner.space_scores import combination_losses, space_metrics, tether_losses, uses_cosine
from awase.runner.space_state import SpaceState
from awase.runner.work import train_loader
from awase.training.loop import Work
from awase.training.parts import set_modes
from awase.types import Batch, RetrievalOutput

log = logging.getLogger(__name__)
Presence = Mapping[str, Bool[Tensor, " batch"] | None]


@dataclass(frozen=True)
class SpacePass:
    """One forward pass in training: the losses of its samples, in sum and by term."""

    batch: Batch
    output: RetrievalOutput
    terms: dict[str, Float[Tensor, " batch"]]

    @property
    def total(self) -> Float[Tensor, " batch"]:
        """The sum of the weighted terms."""
        return torch.stack(list(self.terms.values())).sum(dim=0)


def space_work(model: Retrieval, stage: StageConfig, trained: tuple[str, ...], setting: Setting) -> Work:
    """The work of one stage on one model; `setting` is that of all rows, of a stream those of every data set."""
    now, stream = setting.of_stage(stage), stage.stream
    old = now if stream is None else setting.of_rows(stream.earlier)
    both = now if stream is None else setting.of_rows((*stream.data_sets, *stream.earlier))
    kept = clips_of_stage if isinstance(setting.dataset, ClipDataset) else of_stage
    known: Known = with_below(kept(model, stage, trained, both), model, stage, trained, both)
    step = SpaceStep(model, stage, known, now, kept_of(model, stage, trained, known, now, old))
    return Work(
        batches=replayed(train_loader(stage, known.missing("train"), now), stage, known, old),
        forward=step,
        rule=EpochRule(step.state, step.kept, step.draw),
        validate=lambda: space_metrics(model, stage, "val", now, known),
        set_modes=lambda: set_modes(model, trained),
        collective=setting.world.size > 1,
    )


def begin_anew(model: Retrieval, stage: StageConfig, trained: tuple[str, ...]) -> None:
    """Forgets what the stage's configuration says of what it inherited (`RetrievalConfig.begin`).

    Batch statistics are those of the encoders among the parts `trained`.
    """
    assert stage.retrieval is not None, "the stage has a joint space"
    assert isinstance(model.objective, SpaceState), "the runner built the model"
    model.objective.begin(stage.retrieval.begin)
    if "batch_statistics" not in stage.retrieval.begin:
        return
    learning = [name for name in stage.modalities if f"{name}.encoder" in trained]
    for module in (module for name in learning for module in model.encoders[name].modules()):
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()


class SpaceStep:
    """One forward pass of a stage in training: batch -> losses of its samples."""

    def __init__(
        self, model: Retrieval, stage: StageConfig, known: Known, setting: Setting, kept: Kept | None = None
    ) -> None:
        assert stage.retrieval is not None, "the stage has a joint space"
        assert isinstance(model.objective, SpaceState), "the runner built the model"
        self.model, self.state, self.known, self.setting = model, model.objective, known, setting
        self.config: RetrievalConfig = stage.retrieval
        self.clustered = self.config.clustered or stage.modalities
        self.rebuilt = self.config.reconstructed or stage.modalities
        self.shift = clips_of_a_video(setting.dataset)
        self.kept = kept
        combinations = self.config.combinations
        self.draw = None if combinations is None else KeyDraw(combinations, stage, setting.seed)

    def __call__(self, batch: Batch) -> SpacePass:
        """The embeddings and losses of a batch on the device."""
        with autocast(self.setting):
            keys = None if self.draw is None else self.draw.now
            output = self.model(batch, known=self.known.of(batch, "train"), keys=keys)
            old = {} if self.kept is None else self.kept.taught(batch, output)
        every = presence(batch, self.model.modalities)
        present = without_replayed(every, batch)
        terms = {
            **self._pairs(output, present, batch),
            **self._combinations(output, present, batch),
            **self._clusters(output, present),
            **self._rebuilt(output, present),
            **({} if self.kept is None else self.kept.terms(Pass(output.embeddings, old, every, batch))),
        }
        return SpacePass(batch, output, terms)

    def _pairs(self, output: RetrievalOutput, present: Presence, batch: Batch) -> dict[str, Tensor]:
        config, world, loss = self.config, self.setting.world, self.state.contrast()
        candidates = self._candidates(output.candidates, batch)
        if config.shuffle_pairs:
            foreign = batch.index != batch.index.roll(-self.shift)
            loss = shifted(loss, self.shift, foreign)
            candidates = {name: of_later(*value, self.shift, foreign) for name, value in candidates.items()}
        targets = self.state.targets(config.pairs)
        return pair_losses(
            output.embeddings, present, loss, config.pairs, candidates=candidates, targets=targets, world=world
        )

    def _candidates(self, embeddings: Mapping[str, Tensor], batch: Batch) -> dict[str, Candidates]:
        """Those that the loss compares: of `mil_nce` all, else none."""
        if self.config.loss != "mil_nce":
            return {}
        return {name: (values, batch.candidates[name]) for name, values in embeddings.items()}

    def _combinations(self, output: RetrievalOutput, present: Presence, batch: Batch) -> dict[str, Tensor]:
        combinations, draw = self.config.combinations, self.draw
        if combinations is None or draw is None:
            return {}
        loss, now, world = self.state.contrast(), self.state.temperature, self.setting.world
        given: Any = {"temperature": now, "keys": draw.now, "world": world}
        targets = self.state.targets(combinations.learned, combinations.temperatures)
        keyed, candidates = draw.exchanged(output.keyed), draw.exchanged(output.keyed_candidates)
        several = {key: self._candidates(values, batch) for key, values in candidates.items()}
        own = combination_losses(keyed, present, loss, combinations, targets=targets, candidates=several, **given)
        own |= tether_losses(keyed, output.embeddings, present, combinations, **given)
        return {name: draw.factor * losses for name, losses in own.items()}

    def _clusters(self, output: RetrievalOutput, present: Presence) -> dict[str, Tensor]:
        clustering, memory = self.config.clustering, self.state.memory
        if clustering is None or memory is None:
            return {}
        embeddings = {name: self._placed(output.embeddings[name]) for name in self.clustered}
        some = any_of([present[name] for name in self.clustered])
        fused = fused_mean({name: rows.detach() for name, rows in embeddings.items()}, present)
        push = None
        if clustering.push_rows is not None:
            push = torch.arange(len(fused), device=fused.device) % clustering.push_every < clustering.push_rows
        world = self.setting.world
        labels = memory.step(fused, present=some, push=push, world=world)
        drawn = embeddings
        if uses_cosine(self.config):
            drawn = {name: rows / self.state.temperature for name, rows in embeddings.items()}
        losses = centroid_contrast(
            drawn, memory.centroids, labels, present, margin=clustering.margin, of=clustering.of, world=world
        )
        return {"clustering": clustering.weight * losses}

    def _placed(self, embedding: Tensor) -> Tensor:
        """An embedding as scores see it: of unit length where they are cosines."""
        return F.normalize(embedding, dim=1) if uses_cosine(self.config) else embedding

    def _rebuilt(self, output: RetrievalOutput, present: Presence) -> dict[str, Tensor]:
        settings = self.config.reconstruction
        rebuilt = {name: output.rebuilt[name] for name in self.rebuilt if name in output.rebuilt}
        if not rebuilt or settings.weight == 0:
            return {}
        targets = {name: output.encoded[name].pooled for name in rebuilt}
        losses = reconstruction(rebuilt, targets, present, detach=settings.detach, world=self.setting.world)
        return {"reconstruction": settings.weight * losses}


def without_replayed(present: Presence, batch: Batch) -> Presence:
    """Who has what, without the samples of a reservoir: the stage's own terms are not about them."""
    if batch.replayed is None:
        return present
    return {name: all_of([mask, ~batch.replayed]) for name, mask in present.items()}


def clips_of_a_video(dataset: Dataset | ClipDataset) -> int:
    """How many samples of a training batch that follow one another are of one video."""
    return dataset.config.clips_per_video if isinstance(dataset, ClipDataset) else 1


def shifted(loss: PairLoss, shift: int, foreign: Bool[Tensor, " batch"]) -> PairLoss:
    """The loss with every x drawn to the y of the sample `shift` places on, where that is `foreign`; else absent."""

    def to_later(x: Tensor, y: Tensor, *, present: Tensor | None, world: World, **options: Any) -> Tensor:
        both = foreign if present is None else foreign & present & present.roll(-shift)
        return loss(x, y.roll(-shift, dims=0), present=both, world=world, **options)

    return to_later


def of_later(values: Tensor, mask: Tensor, shift: int, foreign: Bool[Tensor, " batch"]) -> Candidates:
    """Every sample's candidates given to the one `shift` places before it, to which they are `foreign`."""
    return values.roll(-shift, dims=0), mask.roll(-shift, dims=0) & foreign[:, None]


def any_of(masks: Sequence[Tensor | None]) -> Tensor | None:
    """Which samples have any of the modalities; None: all of them."""
    there = [mask for mask in masks if mask is not None]
    return torch.stack(there).any(dim=0) if len(there) == len(masks) else None


class EpochRule(Rule):
    """Plain training that holds a learned temperature up, tells the clustering when an epoch begins, draws a step's
    keys, counts the steps that had no clusters, and lets policies take back what a step must not change.

    It says once in the log how many these were, when there are clusters, or after an epoch without any.
    """

    steps_without_clusters: Tensor
    steps_done: Tensor

    def __init__(self, state: SpaceState, kept: Kept | None = None, draw: KeyDraw | None = None) -> None:
        super().__init__()
        self._kept = kept
        self._draw = draw if draw is not None and draw.changes else None
        if self._draw is not None:
            self.register_buffer("steps_done", torch.zeros((), dtype=torch.long))
        self._state = (state,)  # in a tuple: its tensors belong to the model, not to the rule
        self._said = False
        self.register_buffer("steps_without_clusters", torch.zeros((), dtype=torch.long))

    def begin(self, epoch: int, phase: str | None) -> None:
        """Called before each step."""
        self._state[0].hold()
        if self._draw is not None:
            self._draw.begin(int(self.steps_done))
        if self._memory is not None:
            self._memory.begin_epoch(epoch)

    def after_backward(self, step: int) -> None:
        """Called after each step."""
        if self._draw is not None:
            self.steps_done.fill_(step + 1)
        memory = self._memory
        if memory is None:
            return
        if memory.state["fitted"]:
            self._say()
        else:
            self.steps_without_clusters += 1

    def after_step(self) -> None:
        """Called after the optimiser's step."""
        if self._kept is not None:
            self._kept.after_step()

    def on_epoch_end(self, epoch: int) -> None:
        """Called after each epoch."""
        self._say()

    def facts(self) -> dict[str, Any]:
        """`steps_without_clusters`, where there is clustering."""
        return {} if self._memory is None else {"steps_without_clusters": int(self.steps_without_clusters)}

    @property
    def _memory(self) -> ClusterMemory | None:
        return self._state[0].memory

    def _say(self) -> None:
        memory = self._memory
        if memory is None or self._said or not self.steps_without_clusters:
            return
        self._said = True
        log.warning(
            "%d steps had no clustering term: there were fewer rows than the %d clusters",
            int(self.steps_without_clusters),
            memory.num_clusters,
        )
