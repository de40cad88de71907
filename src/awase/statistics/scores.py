"""What one sample contributes to a metric: right or wrong, or counts of labels. Pure functions on arrays."""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from awase.statistics.bootstrap import Ratio
from awase.statistics.predictions import Predictions

Labels = Shaped[np.ndarray, "samples classes"]


def correct(
    logits: Shaped[np.ndarray, "samples classes"], targets: Int[np.ndarray, " samples"]
) -> Bool[np.ndarray, " samples"]:
    """Returns whether each sample's target has the strictly highest score.

    Ties are pessimistic: a target that shares the highest score with another class is wrong, so that a model which says
    the same for everything scores 0. Raises `ValueError` for NaN and for targets outside the classes.
    Example: `correct(np.array([[2., 1.], [1., 1.]]), np.array([0, 0]))` is `[True, False]`.
    """
    num_classes = logits.shape[1]
    if np.isnan(logits).any():
        raise ValueError("The scores contain NaN: a model that gives NaN has no accuracy.")
    if len(targets) and not (targets.min() >= 0 and targets.max() < num_classes):
        raise ValueError(
            f"Targets lie between 0 and {num_classes - 1} for {num_classes} classes; "
            f"given: {targets.min()} to {targets.max()}."
        )
    rows = np.arange(len(targets))
    own = logits[rows, targets]
    others = logits.astype(np.float64)
    others[rows, targets] = -np.inf
    return np.asarray(own > others.max(axis=1, initial=-np.inf))


def label_counts(predicted: Labels, targets: Labels) -> tuple[Float[np.ndarray, "samples classes"], ...]:
    """Returns true positives, false positives and false negatives of every sample and class, as 0.0 or 1.0."""
    said, true = predicted.astype(bool), targets.astype(bool)
    return tuple(part.astype(np.float64) for part in (said & true, said & ~true, ~said & true))


def item_scores(predictions: Predictions, metric: str) -> Ratio | None:
    """Returns the parts whose sums make `metric` of one seed, shape (1, samples); None where no such sums exist.

    `accuracy` is a mean over samples; `f1_micro` is 2 TP / (2 TP + FP + FN); macro F1 and the loss have no such parts.
    """
    many = predictions.targets.ndim == 2
    if metric == "accuracy" and not many:
        right = correct(predictions.logits, predictions.targets)
    elif metric == "accuracy":
        right = (predictions.predicted.astype(bool) == predictions.targets.astype(bool)).all(axis=1)
    elif metric == "f1_micro":
        return _f1_parts(predictions)
    else:
        return None
    return Ratio(right[None].astype(np.float64), np.ones((1, len(right))))


def _f1_parts(predictions: Predictions) -> Ratio:
    said, true = predictions.predicted, predictions.targets
    if true.ndim == 1:
        classes = np.arange(predictions.logits.shape[1])
        said, true = said[:, None] == classes, true[:, None] == classes
    hits, false, missed = (part.sum(axis=1)[None] for part in label_counts(said, true))
    return Ratio(2 * hits, 2 * hits + false + missed)
