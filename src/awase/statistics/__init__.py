"""Scores per sample, the file of predictions they come from, and intervals over them. Imports no torch."""

from awase.statistics.bootstrap import (
    Difference,
    Interval,
    Ratio,
    bootstrap_mean,
    linear_combinations,
    paired_difference,
)
from awase.statistics.comparison import SeedScores, compare, score_seeds
from awase.statistics.predictions import (
    PREDICTIONS_NAME,
    Predictions,
    align,
    concatenate,
    read_predictions,
    write_predictions,
)
from awase.statistics.scores import correct, item_scores, label_counts
from awase.statistics.shapley import shapley_weights, subsets

__all__ = [
    "PREDICTIONS_NAME",
    "Difference",
    "Interval",
    "Predictions",
    "Ratio",
    "SeedScores",
    "align",
    "bootstrap_mean",
    "compare",
    "concatenate",
    "correct",
    "item_scores",
    "label_counts",
    "linear_combinations",
    "paired_difference",
    "read_predictions",
    "score_seeds",
    "shapley_weights",
    "subsets",
    "write_predictions",
]
