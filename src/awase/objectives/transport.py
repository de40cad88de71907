"""Plans of entropic optimal transport: balanced, unbalanced, and with a bucket for what belongs to nothing."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.objectives.similarities import FAR, Scalar
from awase.objectives.sinkhorn import potentials

TOGETHER = 2**21
"""Numbers in the problems that are solved together on a CPU: 8 MiB of float32, so that they stay in its cache."""


def transport_plan(
    scores: Float[Tensor, "*batch rows columns"],
    *,
    epsilon: float = 0.05,
    iterations: int = 50,
    tolerance: float | None = None,
    row_marginal: Float[Tensor, "*#batch rows"] | None = None,
    column_marginal: Float[Tensor, "*#batch columns"] | None = None,
    rho: float | None = None,
    log: bool = False,
) -> Float[Tensor, "*batch rows columns"]:
    """The plan P that maximises <P, scores> + epsilon H(P) under its marginals, after so many iterations.

    A cost is a negative score. log P = scores / epsilon + u + v, with u and v as in `sinkhorn.potentials`: rows sum to
    their marginal exactly, columns nearly, or within `tolerance` (the sum of the absolute differences, per problem)
    where one is given and reached. Uniform marginals (1 / rows, 1 / columns) where none are given; the sums of both
    are equal. A row or column with the marginal 0 is empty and may hold anything. A score of -inf forbids a pair.

    `rho`: unbalanced; the marginals cost rho KL(P 1 || a) + rho KL(P^T 1 || b) instead of holding, and every half of
    an iteration is multiplied by rho / (rho + epsilon). Then P maximises <P, scores> - epsilon sum P (log P - 1) less
    those costs, and the sums of the marginals may differ.
    `log`: log P instead.
    In float32 at least. The gradient goes through the iterations; that of the value sum(P scores) + epsilon H(P) is P
    itself, and needs none. Raises `ValueError` for an epsilon or rho that is not above 0, less than one iteration, and
    scores that are NaN or too large.
    Source: Cuturi, NeurIPS 2013; in logarithms: Peyré and Cuturi, 2019, section 4.4; unbalanced: Chizat et al.,
    Mathematics of Computation 87, 2018.
    """
    if not epsilon > 0 or iterations < 1 or not (rho is None or rho > 0):
        raise ValueError(
            "Sinkhorn needs epsilon > 0, an iteration, and a rho above 0 or none; "
            f"given: {epsilon=}, {iterations=}, {rho=}."
        )
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    *batch, rows, columns = scores.shape
    if scores.numel() == 0:
        return scores
    flat = scores.reshape(-1, rows, columns)
    together = max(1, TOGETHER // (rows * columns)) if flat.device.type == "cpu" else len(flat)
    marginals = (
        _flat(marginal, flat, (*batch, size)).split(together)
        for marginal, size in ((row_marginal, rows), (column_marginal, columns))
    )
    damping = 1.0 if rho is None else rho / (rho + epsilon)
    plans = [
        _log_plan(part / epsilon, a, b, iterations=iterations, tolerance=tolerance, damping=damping)
        for part, a, b in zip(flat.split(together), *marginals, strict=True)
    ]
    return torch.cat([plan if log else plan.exp() for plan in plans]).reshape(scores.shape)


def partial_plan(
    scores: Float[Tensor, "*batch rows columns"],
    bucket: Scalar | Float[Tensor, "*#batch"],
    *,
    epsilon: float = 0.05,
    iterations: int = 50,
    tolerance: float | None = None,
    row_present: Bool[Tensor, "*#batch rows"] | None = None,
    column_present: Bool[Tensor, "*#batch columns"] | None = None,
) -> Float[Tensor, "*batch rows columns"]:
    """A plan in which rows and columns may stay without a partner: each sums to 1 at most, to 1 - what it gave up.

    One more row and one more column, all of whose scores are `bucket`, take what fits nowhere: `transport_plan` with
    the marginal 1 for every row and column that is present, and for the bucket of a side the number of the other side.
    They are cut off the plan that is returned. As epsilon goes to 0 a pair is matched only where its score is above
    `bucket`. For a mass that is fixed beforehand instead of a score, see `ot.partial` of POT.
    Absent rows and columns are all 0, and may hold anything. Raises `ValueError` as `transport_plan` does.
    Source: Sarlin et al., CVPR 2020 (SuperGlue), section 3.2, whose bucket is learned.
    """
    *batch, rows, columns = scores.shape
    here = _mass(row_present, scores, rows)
    there = _mass(column_present, scores, columns)
    value = torch.as_tensor(bucket, dtype=scores.dtype, device=scores.device)[..., None, None]
    longer = torch.cat([scores, value.expand(*batch, rows, 1)], dim=-1)
    longer = torch.cat([longer, value.expand(*batch, 1, columns + 1)], dim=-2)
    plan = transport_plan(
        longer,
        epsilon=epsilon,
        iterations=iterations,
        tolerance=tolerance,
        row_marginal=torch.cat([here, there.sum(dim=-1, keepdim=True)], dim=-1),
        column_marginal=torch.cat([there, here.sum(dim=-1, keepdim=True)], dim=-1),
    )
    return plan[..., :-1, :-1]


def _mass(present: Tensor | None, scores: Tensor, size: int) -> Tensor:
    return torch.ones(size, device=scores.device) if present is None else present.float()


def _flat(marginal: Tensor | None, scores: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A marginal for each problem."""
    if marginal is None:
        return scores.new_full((), 1 / shape[-1]).expand(len(scores), shape[-1])
    return marginal.to(scores).expand(shape).reshape(len(scores), -1)


def _log_plan(
    logs: Float[Tensor, "problems rows columns"],
    a: Float[Tensor, "problems rows"],
    b: Float[Tensor, "problems columns"],
    *,
    iterations: int,
    tolerance: float | None,
    damping: float,
) -> Float[Tensor, "problems rows columns"]:
    logs = logs.masked_fill((a == 0)[:, :, None], FAR).masked_fill_((b == 0)[:, None, :], FAR)
    log_a = a.log()
    u, v = potentials(logs, log_a, b.log(), iterations=iterations, tolerance=tolerance, damping=damping)
    if not bool(u.isfinite().all()):  # whatever is wrong with v is wrong with u, too
        raise ValueError("Scores to transport by are numbers, and none is +infinity; some of those given are not.")
    raised = logs + v[..., None, :]
    alone = raised.detach().amax(dim=-1) < FAR / 2
    # logs + u + v, with u as what a softmax subtracts: rows then hold however large the logs are.
    row_sums = (log_a + u * (1 - 1 / damping)).masked_fill(alone, -torch.inf)
    return raised.log_softmax(dim=-1) + row_sums[..., None]
