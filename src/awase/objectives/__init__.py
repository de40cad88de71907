"""Losses as functions of tensors, one value per sample."""

from awase.objectives.classification import SampleLoss, binary_cross_entropy, cross_entropy, modality_losses
from awase.objectives.distillation import feature_distance

__all__ = ["SampleLoss", "binary_cross_entropy", "cross_entropy", "feature_distance", "modality_losses"]
