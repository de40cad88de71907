"""What a classification stage gives the loop: batches, losses, validation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from awase.balancing import Forward, Rule, RuleContext, build_rule
from awase.config import ObjectiveConfig, StageConfig, TrainConfig
from awase.data.features import ClipDataset
from awase.evaluation import Keep, Outputs, collect, join_outputs, score
from awase.models import Classifier
from awase.models.encode import presence
from awase.models.parts import part_of
from awase.objectives import SampleLoss, binary_cross_entropy, cross_entropy, feature_distance, modality_losses
from awase.runner.known import EVALUATION_BATCH, KnownFeatures, autocast, of_finished, of_stage
from awase.runner.setting import Setting
from awase.training.loop import Work
from awase.training.parts import set_modes
from awase.types import Batch, ClassifierOutput, Loader

Term = Callable[[Batch, ClassifierOutput], Tensor]
"""Something that the loss of every sample has besides: a value per sample, or one for all of them."""


def classification_work(
    model: Classifier,
    stage: StageConfig,
    trained: tuple[str, ...],
    setting: Setting,
    *,
    objective: ObjectiveConfig,
    teachers: Mapping[str, Classifier],
    terms: Sequence[Term] = (),
) -> Work:
    """The work of one stage on one model; `objective` with its derived values, `teachers` by modality.

    `terms` are added to the loss of every sample.
    """
    known = of_stage(model, stage, trained, setting)
    loss = sample_loss_of(stage.training, setting)
    batches = train_loader(stage, known.missing("train"), setting)
    steps = -(-len(batches) // stage.training.accumulate)
    context = rule_context(model, stage, trained, setting, loss, steps_per_epoch=steps)
    rule = build_rule(stage.balancing, context).to(setting.device)
    return Work(
        batches=batches,
        forward=Step(model, objective, loss, teachers, rule, known, setting, terms),
        rule=rule,
        validate=lambda: split_metrics(model, "val", setting, known),
        set_modes=lambda: set_modes(model, trained),
    )


def train_loader(stage: StageConfig, inputs: Sequence[str], setting: Setting) -> Loader:
    """Augmented, shuffled training batches for this process, with the inputs of these modalities."""
    training = stage.training
    return setting.dataset.loader(
        "train",
        batch_size=training.batch_size,
        modalities=stage.modalities,
        inputs=inputs,
        seed=setting.seed,
        train=True,
        mixup=training.mixup,
        workers=setting.runtime.workers,
        rank=setting.world.rank,
        world_size=setting.world.size,
    )


def rule_context(
    model: Classifier,
    stage: StageConfig,
    trained: tuple[str, ...],
    setting: Setting,
    loss: SampleLoss,
    *,
    steps_per_epoch: int = 1,
) -> RuleContext:
    """What a balancing rule of the stage may know."""
    parts: dict[str, dict[str, Any]] = {part: {} for part in trained}
    for name, parameter in model.named_parameters():
        if part_of(name) in parts:
            parts[part_of(name)][name] = parameter
    return RuleContext(
        model=model,
        trained=parts,
        sample_loss=loss,
        num_classes=len(setting.dataset.classes),
        multi_label=setting.multi_label,
        epochs=stage.training.epochs,
        steps_per_epoch=steps_per_epoch,
        seed=setting.seed,
        world=setting.world,
    )


class Step:
    """One forward pass of a stage in training: batch -> losses of its samples."""

    def __init__(
        self,
        model: Classifier,
        objective: ObjectiveConfig,
        loss: SampleLoss,
        teachers: Mapping[str, Classifier],
        rule: Rule,
        known: KnownFeatures,
        setting: Setting,
        terms: Sequence[Term] = (),
    ) -> None:
        self.terms = terms
        self.model, self.objective, self.loss = model, objective, loss
        self.teachers, self.rule, self.known, self.setting = teachers, rule, known, setting

    def __call__(self, batch: Batch) -> Forward:
        """The outputs and losses of a batch on the device."""
        with autocast(self.setting):
            output = self.model(batch, edit=self.rule.on_encoded, known=self.known.of(batch, "train"))
            taught = self._teach(batch)
        assert batch.targets is not None, "training rows have labels"
        present = presence(batch, self.model.modalities)
        fused = self.loss(output.logits, batch.targets)
        total = self.objective.fused_weight * fused
        weights = {name: self.objective.weight_of(name) for name in output.modality_logits}
        heavy = {name: output.modality_logits[name] for name, weight in weights.items() if weight > 0}
        for name, own in modality_losses(heavy, present, batch.targets, self.loss).items():
            total = total + weights[name] * own
        if taught:
            features = {name: value.pooled for name, value in output.encoded.items()}
            total = total + self.objective.distillation * feature_distance(features, taught, present)
        for term in self.terms:
            total = total + term(batch, output)
        return Forward(batch, output, present, self.loss, fused, total)

    def _teach(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            encoded = {id(teacher): teacher.encode(batch) for teacher in self.teachers.values()}
            return {name: encoded[id(teacher)][name].pooled for name, teacher in self.teachers.items()}


def look(
    model: Classifier,
    split: str,
    setting: Setting,
    *,
    keep: Keep | None = None,
    known: KnownFeatures | None = None,
) -> Outputs:
    """Everything the model says about a split, without augmentation; `keep` takes modalities away.

    `known` are its features where it still learns; a model that stands still, as without it, encodes what no model of
    the setting has encoded before. A model with keys answers every row under that of its data set.
    """
    if model.routes:
        return _look_routed(model, split, setting, keep, known)
    return _look(model, split, setting, keep, known)


def _look_routed(
    model: Classifier, split: str, setting: Setting, keep: Keep | None, known: KnownFeatures | None
) -> Outputs:
    """Every row under the key of its data set, those of one data set after those of another.

    `known` features are of the key that answers now, and are used where all rows are of its data set.
    """
    dataset, before = setting.dataset, model.routed
    assert not isinstance(dataset, ClipDataset), "stages of a stream are of tables"
    stream = dataset.stream
    assert stream is not None, "keys are data sets of a stream"
    there = [name for name in stream.names if len(stream.rows(dataset.splits[split], (name,)))]
    parts = []
    try:
        for name in there:
            model.route(name if name in model.routes else None)
            own = known if there == [before] else None
            parts.append(_look(model, split, replace(setting, dataset=dataset.only((name,))), keep, own))
    finally:
        model.route(before)
    return join_outputs(parts)


def _look(model: Classifier, split: str, setting: Setting, keep: Keep | None, known: KnownFeatures | None) -> Outputs:
    if known is None and keep is None:
        known = of_finished(model, setting)
    loader = setting.dataset.loader(
        split,
        batch_size=EVALUATION_BATCH,
        modalities=model.modalities,
        inputs=None if known is None else known.missing(split),
        workers=setting.runtime.workers,
    )
    with autocast(setting):
        return collect(
            model,
            loader.epoch(0),
            setting.device,
            keep=keep,
            known=None if known is None else lambda batch: known.of(batch, split),
        )


def split_metrics(
    model: Classifier, split: str, setting: Setting, known: KnownFeatures | None = None
) -> dict[str, float]:
    """The metrics of the model on a split, without augmentation; several labels at the threshold 0.5."""
    outputs = look(model, split, setting, known=known)
    assert outputs.targets is not None, "an experiment's rows have labels"
    return score(outputs.logits, outputs.targets, setting.label_task)


def sample_loss_of(training: TrainConfig, setting: Setting) -> SampleLoss:
    """(logits, targets) -> loss of each sample, with the class weights and smoothing of the training."""
    weights = class_weights(training, setting)

    def sample_loss(logits: Tensor, targets: Tensor) -> Float[Tensor, " batch"]:
        if setting.multi_label:
            return binary_cross_entropy(logits, targets, class_weights=weights)
        return cross_entropy(logits, targets, class_weights=weights, label_smoothing=training.label_smoothing)

    return sample_loss


def class_weights(training: TrainConfig, setting: Setting) -> Float[Tensor, " classes"] | None:
    """balanced: n / (classes * n_c) for one label, (n - n_c) / n_c for several, from the training rows; else None."""
    if training.class_weights == "none":
        return None
    targets = torch.from_numpy(setting.dataset.targets[setting.dataset.splits["train"]])
    num_classes = len(setting.dataset.classes)
    if setting.multi_label:
        counts = targets.sum(dim=0).clamp_min(1)
        return ((len(targets) - counts) / counts).float().to(setting.device)
    counts = targets.bincount(minlength=num_classes).clamp_min(1)
    return (len(targets) / (num_classes * counts)).float().to(setting.device)
