"""Losses as functions of tensors, one value per sample."""

from awase.objectives.classification import binary_cross_entropy, classification_loss, cross_entropy

__all__ = ["binary_cross_entropy", "classification_loss", "cross_entropy"]
