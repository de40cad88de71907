"""Metrics as pure functions on arrays, the pass that feeds them, and what a model knows when modalities are missing."""

from awase.evaluation.classification import (
    Task,
    accuracy,
    best_threshold,
    confusion_matrix,
    f1,
    multilabel_predictions,
    score,
)
from awase.evaluation.collect import Outputs, collect, join_outputs
from awase.evaluation.directions import Direction, directions, ranks_of
from awase.evaluation.embed import Embedded, embed
from awase.evaluation.fused import FusedMode, fused
from awase.evaluation.geometry import (
    Hubness,
    Norms,
    PairGeometry,
    alignment,
    cosines,
    hubness,
    modality_gap,
    norms,
    occurrences,
    pair_geometry,
    space_drift,
    uniformity,
)
from awase.evaluation.measure import measure, to_predictions
from awase.evaluation.missing import Keep, conditions, drop_plan, restrict
from awase.evaluation.postprocess import QUERY_BANK, bank_hubness, query_bank_normalised
from awase.evaluation.probe import Labelled, linear_probe, probe_scores
from awase.evaluation.ranks import exact_ranks, ranks_from_scores
from awase.evaluation.shapley import shapley_values
from awase.evaluation.top import top_k
from awase.evaluation.transductive import (
    TRANSDUCTIVE,
    transductive_dual_softmax_ranks,
    transductive_inverted_softmax,
    transductive_sinkhorn,
)

__all__ = [
    "QUERY_BANK",
    "TRANSDUCTIVE",
    "Direction",
    "Embedded",
    "FusedMode",
    "Hubness",
    "Keep",
    "Labelled",
    "Norms",
    "Outputs",
    "PairGeometry",
    "Task",
    "accuracy",
    "alignment",
    "bank_hubness",
    "best_threshold",
    "collect",
    "conditions",
    "confusion_matrix",
    "cosines",
    "directions",
    "drop_plan",
    "embed",
    "exact_ranks",
    "f1",
    "fused",
    "hubness",
    "join_outputs",
    "linear_probe",
    "measure",
    "modality_gap",
    "multilabel_predictions",
    "norms",
    "occurrences",
    "pair_geometry",
    "probe_scores",
    "query_bank_normalised",
    "ranks_from_scores",
    "ranks_of",
    "restrict",
    "score",
    "shapley_values",
    "space_drift",
    "to_predictions",
    "top_k",
    "transductive_dual_softmax_ranks",
    "transductive_inverted_softmax",
    "transductive_sinkhorn",
    "uniformity",
]
