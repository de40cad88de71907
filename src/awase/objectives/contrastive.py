"""Contrastive losses of two sets of embeddings: sample i of one belongs to sample i of the other, to no other.

Every loss takes x and y `(batch, dim)` and gives a value per sample. Negatives are the samples of all processes of
`world`. Samples that are not `present` have the loss 0 and are nobody's negative; the others are scaled such that the
mean over all samples of all processes is the mean over those present. One matrix of similarities is made per call, in
float32 at least, and reduced along both axes.
"""

from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from awase.distributed import ALONE, World, gather_constant
from awase.objectives.max_margin import max_margin
from awase.objectives.similarities import Scalar, Similarities, checked_temperature, cosines, dot_products
from awase.objectives.soft_targets import Targets
from awase.objectives.transport_contrast import transport_contrast

PairLoss = Callable[..., Float[Tensor, " batch"]]
"""(x, y, *, present, world) -> losses."""


def mms(
    x: Float[Tensor, "batch dim"],
    y: Float[Tensor, "batch dim"],
    *,
    margin: float = 0.001,
    present: Bool[Tensor, " batch"] | None = None,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """Masked margin softmax: -log softmax_row(S')_ii - log softmax_column(S')_ii, S' = x y^T - margin I.

    Raw dot products, no temperature; the sum of both directions. Nothing is masked, in spite of its name: clips of the
    same video are negatives. At S = 0 and B samples it is 2 ln(1 + (B - 1) e^margin).
    Source: Ilharco et al., CoNLL 2019, with the constant margin of AVLnet (Rouditchenko et al., Interspeech 2021) and
    MCN (Chen et al., ICCV 2021).
    """
    pairs = dot_products(x, y, present, world)
    pairs.subtract_margin_(margin)
    pairs.hide_absent_()
    return pairs.finish(pairs.both_ways())


def normalised_softmax(
    x: Float[Tensor, "batch dim"],
    y: Float[Tensor, "batch dim"],
    *,
    temperature: Scalar = 0.05,
    present: Bool[Tensor, " batch"] | None = None,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """-log softmax_row(C / temperature)_ii - log softmax_column(C / temperature)_ii of the cosine similarities C.

    The sum of both directions: twice `info_nce`. A temperature that is a tensor gets a gradient. Raises `ValueError`
    for a number that is not above 0.
    Source: Zhai and Wu, BMVC 2019, as in Everything at Once (Shvetsova et al., CVPR 2022).
    """
    pairs = cosines(x, y, present, world, 1 / checked_temperature(temperature))
    pairs.hide_absent_()
    return pairs.finish(pairs.both_ways())


def info_nce(
    x: Float[Tensor, "batch dim"],
    y: Float[Tensor, "batch dim"],
    *,
    temperature: Scalar = 0.07,
    targets: Targets | None = None,
    present: Bool[Tensor, " batch"] | None = None,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """The mean of -log softmax_row(C / temperature)_ii and -log softmax_column(C / temperature)_ii, C the cosines.

    With `targets` T = targets(C / temperature, present=...) of the samples of all processes, without gradient, the mean
    of -sum_j T_ij log softmax_row(C / temperature)_ij and -sum_j T_ji log softmax_column(C / temperature)_ji instead:
    a sample counts as much as its row and its column of T sum to. Every process then makes all of C and T.
    A temperature that is a tensor gets a gradient. Raises `ValueError` for a number that is not above 0.
    Source: van den Oord et al., 2018, in the symmetric form of CLIP (Radford et al., ICML 2021); soft targets: Lin et
    al., ICLR 2024 (Norton).
    """
    if targets is None:
        return 0.5 * normalised_softmax(x, y, temperature=temperature, present=present, world=world)
    pairs = cosines(x, y, present, world, 1 / checked_temperature(temperature))
    wanted = targets(gather_constant(pairs.scores, world), present=pairs.all_present)
    pairs.hide_absent_()
    return pairs.finish(0.5 * _cross_entropies(pairs, wanted))


def sigmoid(
    x: Float[Tensor, "batch dim"],
    y: Float[Tensor, "batch dim"],
    *,
    scale: Scalar = 10.0,
    bias: Scalar = -10.0,
    present: Bool[Tensor, " batch"] | None = None,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """-sum_j log sigmoid(z_ij (scale cos(x_i, y_j) + bias)), z_ii = 1 and z_ij = -1 for every other j.

    Every pair is counted once, with the sample whose x it has, so that the mean is the sum over all pairs divided by
    the number of samples. Tensors get a gradient; the paper learns log scale and bias from log 10 and -10.
    Source: Zhai et al., ICCV 2023 (SigLIP), equation 1.
    """
    pairs = cosines(x, y, present, world, scale).raised(bias)
    pairs.hide_absent_()
    # -log sigmoid(-s) = softplus(s), and -log sigmoid(s) = softplus(s) - s.
    return pairs.finish(F.softplus(pairs.scores).sum(dim=1) - pairs.matching)


def _cross_entropies(pairs: Similarities, targets: Float[Tensor, "columns columns"]) -> Float[Tensor, " rows"]:
    """Of the rows and columns of this process's samples with theirs of the targets, summed."""
    own = pairs.own(targets)  # (rows, columns)
    weighted = own * pairs.scores
    rows = own.sum(dim=1) * pairs.logsumexp_rows() - weighted.sum(dim=1)
    columns = pairs.own(targets.sum(dim=0)) * pairs.logsumexp_columns() - pairs.sum_columns(weighted)
    return rows + columns


CONTRASTIVE: dict[str, PairLoss] = {
    "info_nce": info_nce,
    "max_margin": max_margin,
    "mms": mms,
    "normalised_softmax": normalised_softmax,
    "sigmoid": sigmoid,
    "transport": transport_contrast,
}
"""The losses of two sets of embeddings by name; `mil_nce`, of several candidates per sample, is in `pair_losses`."""
