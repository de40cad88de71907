"""Scores per sample, the file of predictions they come from, and intervals over them. Imports no torch."""

from awase.statistics.bootstrap import (
    Difference,
    Interval,
    Ratio,
    bootstrap_function,
    bootstrap_mean,
    linear_combinations,
    paired_difference,
)
from awase.statistics.comparison import SeedScores, compare, score_seeds
from awase.statistics.continual import (
    ContinualMetrics,
    TaskIntervals,
    TaskMetrics,
    continual_metrics,
    gap_closed,
    task_intervals,
)
from awase.statistics.predictions import (
    PREDICTIONS_NAME,
    Predictions,
    align,
    concatenate,
    read_predictions,
    write_predictions,
)
from awase.statistics.rank_table import RANKS_NAME, RankTable, join_ranks, read_ranks, write_ranks
from awase.statistics.retrieval import RetrievalMetrics, hits, retrieval_metrics
from awase.statistics.retrieval_comparison import RecallScores, compare_recall, recall_scores
from awase.statistics.retrieval_protocol import RetrievalProtocol, one_protocol
from awase.statistics.scores import correct, item_scores, label_counts
from awase.statistics.shapley import shapley_weights, subsets

__all__ = [
    "PREDICTIONS_NAME",
    "RANKS_NAME",
    "ContinualMetrics",
    "Difference",
    "Interval",
    "Predictions",
    "RankTable",
    "Ratio",
    "RecallScores",
    "RetrievalMetrics",
    "RetrievalProtocol",
    "SeedScores",
    "TaskIntervals",
    "TaskMetrics",
    "align",
    "bootstrap_function",
    "bootstrap_mean",
    "compare",
    "compare_recall",
    "concatenate",
    "continual_metrics",
    "correct",
    "gap_closed",
    "hits",
    "item_scores",
    "join_ranks",
    "label_counts",
    "linear_combinations",
    "one_protocol",
    "paired_difference",
    "read_predictions",
    "read_ranks",
    "recall_scores",
    "retrieval_metrics",
    "score_seeds",
    "shapley_weights",
    "subsets",
    "task_intervals",
    "write_predictions",
    "write_ranks",
]
