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
from awase.evaluation.collect import Outputs, collect
from awase.evaluation.directions import Direction, directions, ranks_of
from awase.evaluation.embed import Embedded, embed
from awase.evaluation.fused import FusedMode, fused
from awase.evaluation.measure import measure, to_predictions
from awase.evaluation.missing import Keep, conditions, drop_plan, restrict
from awase.evaluation.probe import Labelled, linear_probe, probe_scores
from awase.evaluation.ranks import exact_ranks, ranks_from_scores
from awase.evaluation.shapley import shapley_values
from awase.evaluation.top import top_k

__all__ = [
    "Direction",
    "Embedded",
    "FusedMode",
    "Keep",
    "Labelled",
    "Outputs",
    "Task",
    "accuracy",
    "best_threshold",
    "collect",
    "conditions",
    "confusion_matrix",
    "directions",
    "drop_plan",
    "embed",
    "exact_ranks",
    "f1",
    "fused",
    "linear_probe",
    "measure",
    "multilabel_predictions",
    "probe_scores",
    "ranks_from_scores",
    "ranks_of",
    "restrict",
    "score",
    "shapley_values",
    "to_predictions",
    "top_k",
]
