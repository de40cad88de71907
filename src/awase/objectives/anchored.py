"""An anchor modality against items of several others, by the size of the shape that they span.

`size` measures the shape of every anchor with every item, from products of two sets of rows: what grows with the
square of the batch are matrices (rows, columns), never the vectors themselves.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from awase.distributed import World, first_row, gather_constant, gather_rows
from awase.objectives.presence import all_of, everyone, without_absent
from awase.objectives.similarities import Scalar, Similarities, inverse

Size = Callable[
    [Float[Tensor, "rows dim"], Float[Tensor, "columns others dim"]],
    Float[Tensor, "rows columns"],
]
EPSILON = 1e-6
"""What is added under the root: above what float32 leaves of a product that should be zero."""


def anchored_contrast(
    size: Size,
    embeddings: Mapping[str, Float[Tensor, "batch dim"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    *,
    anchor: str,
    temperature: Scalar,
    label_smoothing: float,
    world: World,
) -> Float[Tensor, " batch"]:
    """The mean of both directions' cross-entropies of the logits -size(anchor_i; others_j) / temperature.

    Rows: which item j belongs to the anchor i; columns: which anchor belongs to the item. With `label_smoothing` s the
    target is (1 - s) for the matching one plus s / N for each of the N samples present. A sample counts where it has
    all modalities: another size than of all would be of another scale. Otherwise as in `objectives.contrastive`.
    """
    if anchor not in embeddings:
        raise ValueError(f"The anchor is one of the modalities {', '.join(sorted(embeddings))}; given: {anchor!r}.")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"Label smoothing is in [0, 1); given: {label_smoothing}.")
    here = all_of(present[name] for name in embeddings)
    if world.size > 1:
        here = everyone(embeddings[anchor], here)
    rows = {name: without_absent(values, here) for name, values in embeddings.items()}
    x = rows.pop(anchor)
    items = gather_rows(torch.stack(list(rows.values()), dim=1), world)  # (columns, others, dim)
    scores = size(x, items) * -inverse(temperature)
    all_here = None if here is None else gather_constant(here, world)
    pairs = Similarities(scores, first_row(x, world), here, all_here, world)
    pairs.hide_absent_()
    both = 0.5 * (pairs.logsumexp_rows() + pairs.logsumexp_columns())
    return pairs.finish(both - _target_score(pairs, label_smoothing))


def _target_score(pairs: Similarities, label_smoothing: float) -> Float[Tensor, " rows"]:
    """The mean score under the smoothed target, of both directions."""
    if label_smoothing == 0:
        return pairs.matching
    real = pairs.scores
    if pairs.present is not None and pairs.all_present is not None:
        real = torch.where(pairs.present[:, None] & pairs.all_present, real, torch.zeros_like(real))
    means = 0.5 * (real.sum(dim=1) + pairs.sum_columns(real)) / pairs.num_present
    return (1 - label_smoothing) * pairs.matching + label_smoothing * means


def safe_root(squares: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """sqrt(max(0, squares) + EPSILON): at and near zero the gradient is that of the squares times at most 500.

    Without it the gradient of a shape of size 0 is infinite, and rounding makes a root of something negative.
    """
    return (squares.clamp_min(0) + EPSILON).sqrt()


def unit(rows: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
    """The rows with length 1, in float32 at least; a row of zeros stays so."""
    return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=-1)
