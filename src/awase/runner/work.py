"""What a classification stage gives the loop: batches, losses, validation."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from awase.config import StageConfig, TrainConfig
from awase.evaluation import Outputs, collect, score
from awase.models import Classifier
from awase.models.classifier import presence
from awase.objectives import binary_cross_entropy, classification_loss, cross_entropy
from awase.runner.setting import Setting
from awase.training.loop import Work
from awase.training.parts import set_modes
from awase.types import Batch, Loader

EVALUATION_BATCH = 64


def classification_work(model: Classifier, stage: StageConfig, trained: tuple[str, ...], setting: Setting) -> Work:
    """The work of one stage on one model."""
    return Work(
        batches=train_loader(stage, setting),
        losses=loss_function(model, stage, setting),
        validate=lambda: validation_metrics(model, setting),
        set_modes=lambda: set_modes(model, trained),
    )


def train_loader(stage: StageConfig, setting: Setting) -> Loader:
    """Augmented, shuffled batches of the training split for this process."""
    return setting.dataset.loader(
        "train",
        batch_size=stage.training.batch_size,
        modalities=stage.modalities,
        seed=setting.seed,
        train=True,
        mixup=stage.training.mixup,
        workers=setting.runtime.workers,
        rank=setting.world.rank,
        world_size=setting.world.size,
    )


def look(model: Classifier, split: str, setting: Setting) -> Outputs:
    """Everything the model says about a split, without augmentation."""
    loader = setting.dataset.loader(
        split, batch_size=EVALUATION_BATCH, modalities=model.modalities, workers=setting.runtime.workers
    )
    with autocast(setting):
        return collect(model, loader.epoch(0), setting.device)


def validation_metrics(model: Classifier, setting: Setting) -> dict[str, float]:
    """The metrics of the model on validation; several labels at the threshold 0.5."""
    outputs = look(model, "val", setting)
    assert outputs.targets is not None, "an experiment's rows have labels"
    return score(outputs.logits, outputs.targets, setting.dataset.task)


def loss_function(
    model: Classifier, stage: StageConfig, setting: Setting
) -> Callable[[Batch], Float[Tensor, " batch"]]:
    """Batch -> loss of each of its samples."""
    objective, training = stage.objective, stage.training
    weights = class_weights(training, setting)

    def sample_loss(logits: Tensor, targets: Tensor) -> Tensor:
        if setting.multi_label:
            return binary_cross_entropy(logits, targets, class_weights=weights)
        smoothing = training.label_smoothing
        return cross_entropy(logits, targets, class_weights=weights, label_smoothing=smoothing)

    def losses(batch: Batch) -> Float[Tensor, " batch"]:
        with autocast(setting):
            output = model(batch)
        present = presence(batch, model.modalities)
        assert batch.targets is not None, "training rows have labels"
        pair = (objective.fused_weight, objective.modality_weight)
        return classification_loss(output.logits, output.modality_logits, present, batch.targets, sample_loss, pair)

    return losses


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


def autocast(setting: Setting) -> torch.autocast:
    """bfloat16 where the runtime asks for it, else nothing."""
    kind = torch.device(setting.device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=setting.runtime.dtype == "bfloat16")
