"""The similarities of this process's samples with those of all processes: one matrix, read along both axes."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from awase.distributed import World, first_row, gather_constant, gather_rows
from awase.objectives.presence import everyone, over_present, without_absent
from awase.products import product

Scalar = float | Float[Tensor, ""]
FAR = -1e30
"""The similarity to an absent row: its exponential is zero, and a row of nothing else has no NaN."""


def checked_temperature(temperature: Scalar) -> Scalar:
    """The temperature; raises `ValueError` for a number that is not above 0."""
    if not isinstance(temperature, Tensor) and temperature <= 0:
        raise ValueError(f"A temperature is above 0; given: {temperature}.")
    return temperature


@dataclass(frozen=True)
class Similarities:
    """`scores[i, j]` of this process's x_i and the y_j of all processes; x_i belongs to y of the column `first` + i.

    `present` and `all_present` say which rows and which columns are real; None: all.
    """

    scores: Float[Tensor, "rows columns"]
    first: int
    present: Bool[Tensor, " rows"] | None
    all_present: Bool[Tensor, " columns"] | None
    world: World

    @property
    def matching(self) -> Float[Tensor, " rows"]:
        """The scores of the pairs that belong together."""
        return self.own(self.scores.T).diagonal()

    @property
    def num_present(self) -> float | Float[Tensor, ""]:
        """The number of samples of all processes that are present, at least 1."""
        if self.all_present is None:
            return float(self.scores.shape[1])
        return self.all_present.sum().clamp_min(1).to(self.scores.dtype)

    def everywhere(self, rows: Float[Tensor, " rows"]) -> Float[Tensor, " columns"]:
        """Something for each own sample, of the samples of all processes."""
        return gather_rows(rows, self.world)

    def own(self, columns: Float[Tensor, "columns *rest"]) -> Float[Tensor, "rows *rest"]:
        """Of something for each column, that for this process's samples."""
        return columns.narrow(0, self.first, len(self.scores))

    @torch.no_grad()
    def subtract_margin_(self, margin: float) -> None:
        """Lowers the matching scores in place; a constant, so that the gradient stays what it was."""
        self.matching.sub_(margin)

    @torch.no_grad()
    def hide_absent_(self) -> None:
        """Makes the scores of absent rows and columns `FAR` in place.

        Their gradient needs no care: an exponential of FAR is zero, and what an absent sample has for itself is
        dropped by `finish`.
        """
        if self.present is not None and self.all_present is not None:
            self.scores.masked_fill_(~self.present[:, None], FAR)
            self.scores.masked_fill_(~self.all_present, FAR)

    def raised(self, by: Scalar) -> "Similarities":
        """The same with a constant added to every score."""
        return replace(self, scores=self.scores + by)

    def logsumexp_rows(self) -> Float[Tensor, " rows"]:
        """log sum_j exp s_ij for each x_i, over the y_j of all processes."""
        return self.scores.logsumexp(dim=1)

    def logsumexp_columns(self) -> Float[Tensor, " rows"]:
        """log sum_j exp s_ji for each own y_i, over the x_j of all processes.

        Each process reduces its own rows, and only these (columns,) partial results travel.
        """
        return self.own(gather_rows(self.scores.logsumexp(dim=0)[None], self.world).logsumexp(dim=0))

    def log_softmax_rows(self) -> Float[Tensor, "rows columns"]:
        """log softmax over the y_j of all processes."""
        return self.scores.log_softmax(dim=1)

    def log_softmax_columns(self) -> Float[Tensor, "rows columns"]:
        """log softmax over the x_i of all processes, the entries of the own ones."""
        return self.scores - gather_rows(self.scores.logsumexp(dim=0)[None], self.world).logsumexp(dim=0)

    def both_ways(self, smoothing: float = 0.0) -> Float[Tensor, " rows"]:
        """-log softmax_row(s)_ii - log softmax_column(s)_ii, of absent rows and columns that are hidden.

        With smoothing that share of each target is spread evenly over the samples that are present.
        """
        losses = self.logsumexp_rows() + self.logsumexp_columns() - 2 * self.matching
        if smoothing == 0:
            return losses
        scores = self.scores
        if self.present is not None and self.all_present is not None:
            scores = scores * (self.present[:, None] & self.all_present)
        even = (scores.sum(dim=1) + self.sum_columns(scores)) / self.num_present
        return losses + smoothing * (2 * self.matching - even)

    def sum_columns(self, values: Float[Tensor, "rows columns"]) -> Float[Tensor, " rows"]:
        """sum_j v_ji for each own y_i, over the rows j of all processes."""
        return self.own(gather_rows(values.sum(dim=0)[None], self.world).sum(dim=0))

    def finish(self, losses: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """The losses such that their mean over all samples is the mean over those present; 0 where absent."""
        return over_present(losses, self.present, self.world)


def dot_products(
    x: Float[Tensor, "batch dim"], y: Float[Tensor, "batch dim"], present: Bool[Tensor, " batch"] | None, world: World
) -> Similarities:
    """x_i . y_j in float32 at least. Nothing hidden yet."""
    if world.size > 1:
        present = everyone(x, present)
    return _similarities(without_absent(x, present), without_absent(y, present), present, world)


def cosines(
    x: Float[Tensor, "batch dim"],
    y: Float[Tensor, "batch dim"],
    present: Bool[Tensor, " batch"] | None,
    world: World,
    scale: Scalar = 1.0,
) -> Similarities:
    """scale cos(x_i, y_j) in float32 at least; 0 for a vector of zeros. Nothing hidden yet."""
    if world.size > 1:
        present = everyone(x, present)
    x = F.normalize(without_absent(x, present), dim=1) * scale
    return _similarities(x, F.normalize(without_absent(y, present), dim=1), present, world)


def _similarities(x: Tensor, y: Tensor, present: Tensor | None, world: World) -> Similarities:
    # An autocast matrix product may be narrower than its inputs; sums of exponentials may not.
    scores = product(x, gather_rows(y, world)).to(x.dtype)
    all_present = None if present is None else gather_constant(present, world)
    return Similarities(scores, first_row(x, world), present, all_present, world)
