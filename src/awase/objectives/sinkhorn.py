"""Sinkhorn's iterations in logarithms: the potentials of many transport problems at once."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.objectives.similarities import FAR

CHECK_EVERY = 5
SAFE = 30.0
"""How far, in logarithms, potentials and sums may be from those of a kernel that is used in their place. A term that is
lost because float32 has nothing below e^-87 is then less than e^-27 of its sum, and 100,000 of them less than rounding.
"""


def potentials(
    logs: Float[Tensor, "problems rows columns"],
    log_rows: Float[Tensor, "problems rows"],
    log_columns: Float[Tensor, "problems columns"],
    *,
    iterations: int,
    tolerance: float | None = None,
    damping: float = 1.0,
) -> tuple[Float[Tensor, "problems rows"], Float[Tensor, "problems columns"]]:
    """u and v after so many iterations from 0, of the plan exp(logs + u + v).

        v_j = damping (log b_j - log sum_i exp(logs_ij + u_i)),  then
        u_i = damping (log a_i - log sum_j exp(logs_ij + v_j))

    With the damping 1 rows then sum to a exactly and columns nearly to b. It ends early where no problem's columns were
    further from b than `tolerance`, in the sum of the absolute differences, before the last of these steps (looked at
    every fifth iteration, which waits for the device). A row or column whose logs are all `FAR` keeps the potential 0.
    Where a gradient is needed it goes through the iterations.

    On a CPU without gradient the sums are products with exp(logs + u' + v') of earlier potentials u', v', which is made
    anew whenever rounding could tell the difference. Source: Cuturi, NeurIPS 2013; the kernel of earlier potentials:
    Schmitzer, SIAM Journal on Scientific Computing 41, 2019.
    """
    sums = _Sums(logs, log_rows.isneginf(), log_columns.isneginf())
    u, v = torch.zeros_like(log_rows), torch.zeros_like(log_columns)
    for iteration in range(iterations):
        before = v
        v = _half_step(sums.of_columns(u), log_columns, damping)
        u = _half_step(sums.of_rows(v), log_rows, damping)
        if tolerance is not None and iteration % CHECK_EVERY == CHECK_EVERY - 1:
            violations = (log_columns.exp() * ((before - v).exp() - 1).abs()).sum(dim=-1)
            if bool((violations <= tolerance).all()):
                break
    return u, v


def _half_step(sums: Tensor, log_marginal: Tensor, damping: float) -> Tensor:
    # Not `sums >= FAR / 2`, which would make a NaN a 0.
    return torch.where(sums < FAR / 2, torch.zeros_like(sums), damping * (log_marginal - sums))


class _Sums:
    """log sum exp(logs + potential) over either axis."""

    def __init__(self, logs: Tensor, empty_rows: Bool[Tensor, "_ rows"], empty_columns: Bool[Tensor, "_ columns"]):
        self.logs, self.empty_rows, self.empty_columns = logs, empty_rows, empty_columns
        self.remembers = logs.device.type == "cpu" and not (torch.is_grad_enabled() and logs.requires_grad)
        self.kernel: Tensor | None = None  # exp(logs + u + v)
        self.u, self.v = (
            torch.zeros_like(empty_rows, dtype=logs.dtype),
            torch.zeros_like(empty_columns, dtype=logs.dtype),
        )

    def of_columns(self, u: Float[Tensor, "problems rows"]) -> Float[Tensor, "problems columns"]:
        """log sum_i exp(logs_ij + u_i)."""
        if self.kernel is not None:
            found = _product(u - self.u, self.kernel, self.empty_columns)
            if found is not None:
                return found - self.v
        raised = self.logs + u[..., None]
        sums = raised.logsumexp(dim=-2)
        if self.remembers:
            self.kernel = raised.softmax(dim=-2).masked_fill_(self.empty_columns[:, None, :], 0)
            self.u, self.v = u, (-sums).masked_fill_(self.empty_columns, 0)
        return sums

    def of_rows(self, v: Float[Tensor, "problems columns"]) -> Float[Tensor, "problems rows"]:
        """log sum_j exp(logs_ij + v_j)."""
        if self.kernel is not None:
            found = _product(v - self.v, self.kernel.mT, self.empty_rows)
            if found is not None:
                return found - self.u
        raised = self.logs + v[..., None, :]
        sums = raised.logsumexp(dim=-1)
        if self.remembers:
            self.kernel = raised.softmax(dim=-1).masked_fill_(self.empty_rows[:, :, None], 0)
            self.u, self.v = (-sums).masked_fill_(self.empty_rows, 0), v
        return sums


def _product(moved: Tensor, kernel: Tensor, empty: Tensor) -> Tensor | None:
    """log(exp(moved) kernel), or None where it could be wrong."""
    if not bool((moved.abs() <= SAFE).all()):
        return None
    sums = torch.bmm(moved.exp()[:, None, :], kernel)[:, 0].log()
    return sums if bool(((sums >= -SAFE) | empty).all()) else None
