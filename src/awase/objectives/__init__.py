"""Losses as functions of tensors, one value per sample."""

from awase.objectives.classification import SampleLoss, binary_cross_entropy, cross_entropy, modality_losses
from awase.objectives.contrastive import CONTRASTIVE, PairLoss, info_nce, mms, normalised_softmax, sigmoid
from awase.objectives.distillation import feature_distance
from awase.objectives.max_margin import max_margin
from awase.objectives.mil_nce import mil_nce
from awase.objectives.pairs import Pair, pair_losses

__all__ = [
    "CONTRASTIVE",
    "Pair",
    "PairLoss",
    "SampleLoss",
    "binary_cross_entropy",
    "cross_entropy",
    "feature_distance",
    "info_nce",
    "max_margin",
    "mil_nce",
    "mms",
    "modality_losses",
    "normalised_softmax",
    "pair_losses",
    "sigmoid",
]
