"""Sinkhorn's iterations in logarithms: transport plans, and clusters of equal size."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from awase.objectives.presence import everyone


def sinkhorn_plan(
    scores: Float[Tensor, "*batch rows columns"],
    *,
    epsilon: float = 0.05,
    iterations: int = 3,
    row_marginal: Float[Tensor, "*batch rows"] | None = None,
    column_marginal: Float[Tensor, "*batch columns"] | None = None,
) -> Float[Tensor, "*batch rows columns"]:
    """The plan P that maximises <P, scores> + epsilon H(P) under its marginals, after so many iterations.

    log P = scores / epsilon + u + v. One iteration scales the columns, then the rows, so that the sums of the rows are
    exact and those of the columns converge. Uniform marginals (1 / rows, 1 / columns) where none are given; the sums
    of both are equal; a row or column with the marginal 0 is empty. In float32 at least; with gradient where every
    marginal is above 0.
    Raises `ValueError` for an epsilon that is not above 0 or less than one iteration.
    Source: Cuturi, NeurIPS 2013; in logarithms: Peyré and Cuturi, 2019, section 4.4.
    """
    if epsilon <= 0 or iterations < 1:
        raise ValueError(f"Sinkhorn needs epsilon > 0 and an iteration; given: {epsilon=}, {iterations=}.")
    logs = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    num_rows, num_columns = logs.shape[-2:]
    rows = logs.new_full((num_rows,), 1 / max(num_rows, 1)) if row_marginal is None else row_marginal.to(logs)
    columns = (
        logs.new_full((num_columns,), 1 / max(num_columns, 1)) if column_marginal is None else column_marginal.to(logs)
    )
    log_rows, log_columns = rows.log(), columns.log()
    u = torch.where(rows > 0, torch.zeros_like(log_rows), log_rows).expand(logs.shape[:-1])
    for _ in range(iterations):
        v = log_columns - (logs + u[..., None]).logsumexp(dim=-2)
        u = log_rows - (logs + v[..., None, :]).logsumexp(dim=-1)
    return (logs + u[..., None] + v[..., None, :]).exp()


@torch.no_grad()
def balanced_assignment(
    similarities: Float[Tensor, "rows clusters"],
    *,
    epsilon: float = 0.05,
    iterations: int = 3,
    present: Bool[Tensor, " rows"] | None = None,
) -> tuple[Float[Tensor, "rows clusters"], Int[Tensor, " rows"]]:
    """How much of each row belongs to each cluster when all clusters are of equal size, and the greatest share's.

    Rows sum to 1, columns nearly to rows / clusters. Absent rows take no part: all zero, with the label -1.
    Source: Caron et al., NeurIPS 2020 (SwAV), with its epsilon and iterations; `similarities` are cosines there.
    """
    here = everyone(similarities, present)
    scores = torch.where(here[:, None], similarities, torch.zeros_like(similarities))
    rows = here.float() / here.sum().clamp_min(1)
    plan = sinkhorn_plan(scores, epsilon=epsilon, iterations=iterations, row_marginal=rows)
    shares = torch.where(here[:, None], plan / plan.sum(dim=1, keepdim=True), torch.zeros_like(plan))
    if shares.shape[0] == 0:
        return shares, torch.zeros(0, dtype=torch.long, device=shares.device)
    labels = shares.argmax(dim=1)
    return shares, torch.where(here, labels, torch.full_like(labels, -1))
