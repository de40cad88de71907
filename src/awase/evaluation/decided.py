"""What was decided about each sample and what it cost, by a model or by the best constant prediction."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.special import log_softmax

from awase.evaluation.classification import Task, f1, multilabel_predictions
from awase.statistics import Ratio, correct, label_counts

UNDECIDED = -1
"""Of one label, where the highest score is shared: counted as wrong, as everywhere."""


@dataclass(frozen=True)
class Decided:
    """A row per sample: the class (or 0 and 1 per class) and the loss in nats (mean over classes of several labels)."""

    decisions: Int[np.ndarray, "samples *classes"]
    losses: Float[np.ndarray, " samples"]

    def where(self, rows: Shaped[np.ndarray, " samples"], other: "Decided") -> "Decided":
        """This one in the given rows (a mask), the other elsewhere."""
        wide = rows.reshape(-1, *[1] * (self.decisions.ndim - 1))
        return Decided(
            np.where(wide, self.decisions, other.decisions), np.where(rows, self.losses, other.losses).astype(float)
        )


def decide(
    logits: Float[np.ndarray, "samples classes"],
    targets: Shaped[np.ndarray, "samples *classes_"],
    task: Task,
    threshold: float = 0.5,
) -> Decided:
    """The decisions and losses of logits. Raises `ValueError` for NaN.

    Example: logits [[2, 1], [1, 1]] with targets [0, 0] decide 0 and nothing (-1).
    """
    values = logits.astype(np.float64)
    if task == "multi_label":
        if np.isnan(values).any():
            raise ValueError("The scores contain NaN: a model that gives NaN has no accuracy.")
        losses = (np.logaddexp(0.0, values) - values * targets).mean(axis=1)
        return Decided(multilabel_predictions(values, threshold), losses)
    classes = targets.astype(np.int64)
    losses = -log_softmax(values, axis=1)[np.arange(len(classes)), classes]
    highest = values.argmax(axis=1)
    decisions = np.where(correct(values, highest), highest, UNDECIDED).astype(np.int64)
    return Decided(decisions, np.asarray(losses, dtype=np.float64))


def constant(
    train_targets: Shaped[np.ndarray, "rows *classes"],
    num_classes: int,
    targets: Shaped[np.ndarray, "samples *classes"],
) -> Decided:
    """The best that can be said without looking, from the class frequencies of training.

    One label: the most frequent class (the first among equals), and the loss of the frequencies (n_c + 1) / (n + C).
    Several: the classes whose constant prediction has the highest micro F1 on the training rows, and the loss of
    (n_c + 1) / (n + 2). One is added to each count so that a class that training lacks has a finite loss.
    """
    size = len(train_targets)
    if targets.ndim == 1:
        counts = np.bincount(train_targets.astype(np.int64), minlength=num_classes)
        logs = np.log((counts + 1) / (size + num_classes))
        decisions = np.full(len(targets), counts.argmax(), dtype=np.int64)
        return Decided(decisions, -logs[targets.astype(np.int64)])
    counts = train_targets.astype(np.float64).sum(axis=0)
    rates = (counts + 1) / (size + 2)
    losses = -(targets * np.log(rates) + (1 - targets) * np.log(1 - rates)).mean(axis=1)
    return Decided(np.tile(_best_labels(train_targets), (len(targets), 1)), losses.astype(np.float64))


def score_parts(
    decisions: Int[np.ndarray, "samples *classes"], targets: Shaped[np.ndarray, "samples *classes"]
) -> Ratio:
    """What each sample adds to accuracy (one label) or to micro F1 (several), shape (1, samples)."""
    if decisions.ndim == 1:
        right = (decisions == targets)[None].astype(np.float64)
        return Ratio(right, np.ones_like(right))
    hits, false, missed = (part.sum(axis=1)[None] for part in label_counts(decisions, targets))
    return Ratio(2 * hits, 2 * hits + false + missed)


def _best_labels(train_targets: Shaped[np.ndarray, "rows classes"]) -> Int[np.ndarray, " classes"]:
    """Zeros and ones; the k most frequent classes for the best k, the smallest among equals."""
    order = np.argsort(-train_targets.sum(axis=0), kind="stable")
    best, chosen = -1.0, np.zeros(len(order), dtype=np.int64)
    for k in range(1, len(order) + 1):
        labels = np.zeros(len(order), dtype=np.int64)
        labels[order[:k]] = 1
        value = f1(np.tile(labels, (len(train_targets), 1)), train_targets)
        if value > best:
            best, chosen = value, labels
    return chosen
