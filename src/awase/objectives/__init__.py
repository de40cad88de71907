"""Losses as functions of tensors, one value per sample."""

from awase.objectives.assignment import balanced_assignment
from awase.objectives.centroids import centroid_contrast, fused_mean
from awase.objectives.ckc import ckc
from awase.objectives.classification import SampleLoss, binary_cross_entropy, cross_entropy, modality_losses
from awase.objectives.clustering import ClusterMemory
from awase.objectives.combinations import SpanLoss, combination_loss, span_loss
from awase.objectives.contrastive import CONTRASTIVE, PairLoss, info_nce, mms, normalised_softmax, sigmoid
from awase.objectives.distillation import feature_distance, logit_distance
from awase.objectives.elastic import diagonal_fisher, elastic_penalty
from awase.objectives.gromov import fused_gromov_wasserstein
from awase.objectives.kmeans import Clusters, assign, kmeans
from awase.objectives.max_margin import max_margin
from awase.objectives.mil_nce import mil_nce
from awase.objectives.orthogonality import orthogonality
from awase.objectives.pairs import Candidates, pair_losses
from awase.objectives.presence import over_present
from awase.objectives.reconstruction import reconstruction
from awase.objectives.similarity_distillation import similarity_distillation
from awase.objectives.soft_targets import Targets, partial_targets, soft_targets
from awase.objectives.spans import triangle_area, triangle_scores, volume
from awase.objectives.transport import partial_plan, transport_plan
from awase.objectives.transport_contrast import transport_contrast

__all__ = [
    "CONTRASTIVE",
    "Candidates",
    "ClusterMemory",
    "Clusters",
    "PairLoss",
    "SampleLoss",
    "SpanLoss",
    "Targets",
    "assign",
    "balanced_assignment",
    "binary_cross_entropy",
    "centroid_contrast",
    "ckc",
    "combination_loss",
    "cross_entropy",
    "diagonal_fisher",
    "elastic_penalty",
    "feature_distance",
    "fused_gromov_wasserstein",
    "fused_mean",
    "info_nce",
    "kmeans",
    "logit_distance",
    "max_margin",
    "mil_nce",
    "mms",
    "modality_losses",
    "normalised_softmax",
    "orthogonality",
    "over_present",
    "pair_losses",
    "partial_plan",
    "partial_targets",
    "reconstruction",
    "sigmoid",
    "similarity_distillation",
    "soft_targets",
    "span_loss",
    "transport_contrast",
    "transport_plan",
    "triangle_area",
    "triangle_scores",
    "volume",
]
