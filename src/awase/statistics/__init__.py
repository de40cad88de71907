"""Scores per sample, the file of predictions they come from, and intervals over them. Imports no torch."""

from awase.statistics.bootstrap import (
    Difference,
    Interval,
    Ratio,
    bootstrap_function,
    bootstrap_mean,
    linear_combinations,
    paired_difference,
    paired_differences,
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
from awase.statistics.retrieval_comparison import RecallScores, compare_recall, compare_recalls, recall_scores
from awase.statistics.retrieval_directions import gallery_of, is_pair, main_directions, query_of
from awase.statistics.retrieval_protocol import (
    ANY_CAPTION,
    LEFT_OUT,
    OWN_ITEM,
    SAME_CAPTION,
    RetrievalProtocol,
    one_protocol,
)
from awase.statistics.scores import correct, item_scores, label_counts
from awase.statistics.shapley import shapley_weights, subsets
from awase.statistics.stream_hits import STREAM_NAME, StreamHits, join_hits, read_hits, write_hits
from awase.statistics.worst_queries import WORST_NAME, Found, WorstQueries, WorstQuery, read_worst, write_worst

__all__ = [
    "ANY_CAPTION",
    "LEFT_OUT",
    "OWN_ITEM",
    "PREDICTIONS_NAME",
    "RANKS_NAME",
    "SAME_CAPTION",
    "STREAM_NAME",
    "WORST_NAME",
    "ContinualMetrics",
    "Difference",
    "Found",
    "Interval",
    "Predictions",
    "RankTable",
    "Ratio",
    "RecallScores",
    "RetrievalMetrics",
    "RetrievalProtocol",
    "SeedScores",
    "StreamHits",
    "TaskIntervals",
    "TaskMetrics",
    "WorstQueries",
    "WorstQuery",
    "align",
    "bootstrap_function",
    "bootstrap_mean",
    "compare",
    "compare_recall",
    "compare_recalls",
    "concatenate",
    "continual_metrics",
    "correct",
    "gallery_of",
    "gap_closed",
    "hits",
    "is_pair",
    "item_scores",
    "join_hits",
    "join_ranks",
    "label_counts",
    "linear_combinations",
    "main_directions",
    "one_protocol",
    "paired_difference",
    "paired_differences",
    "query_of",
    "read_hits",
    "read_predictions",
    "read_ranks",
    "read_worst",
    "recall_scores",
    "retrieval_metrics",
    "score_seeds",
    "shapley_weights",
    "subsets",
    "task_intervals",
    "write_hits",
    "write_predictions",
    "write_ranks",
    "write_worst",
]
