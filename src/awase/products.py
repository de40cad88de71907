"""Large matrix products on a CPU, by whichever of torch's two libraries is fast there."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LEAST = 1 << 27
"""Products of fewer multiplications than this are torch's own: there is nothing to gain, and every bit stays."""


def product(
    rows: Float[Tensor, "rows inner"], columns: Float[Tensor, "columns inner"]
) -> Float[Tensor, "rows columns"]:
    """rows @ columns.T.

    torch multiplies float32 on a CPU with MKL, which on AMD's processors with AVX-512 reaches half of what oneDNN does
    (`benchmarks/mcn_step.py`). There, large products go through oneDNN, forward and backward, outside of autocast;
    everything else is the plain product. Both round as float32 does, each in its own order.
    """
    if _goes_through_onednn(rows, columns):
        found: Tensor = _Product.apply(rows, columns, None)
        return found
    return rows @ columns.T


class Linear(nn.Linear):
    """`nn.Linear` whose large products go the way of `product`."""

    def forward(self, input: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        if input.dim() == 2 and _goes_through_onednn(input, self.weight):
            found: Tensor = _Product.apply(input, self.weight, self.bias)
            return found
        return F.linear(input, self.weight, self.bias)


def _goes_through_onednn(rows: Tensor, columns: Tensor) -> bool:
    if torch.compiler.is_exporting():
        return False  # a graph for any number of rows and any machine: torch's own product
    return (
        rows.device.type == "cpu"
        and rows.dtype == columns.dtype == torch.float32
        and len(rows) * rows.shape[1] * len(columns) >= LEAST
        and not torch.is_autocast_enabled("cpu")
        and onednn_is_faster()
    )


@cache
def onednn_is_faster() -> bool:
    """Whether this is an AMD processor with AVX-512, and torch has both libraries."""
    there = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    if not there or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    described = Path("/proc/cpuinfo")
    return described.is_file() and "AuthenticAMD" in described.read_text(encoding="utf-8") and _has_operation()


def _has_operation() -> bool:
    """torch has no public way to oneDNN for float32; what its compiler calls may go in another version."""
    try:
        return bool(_multiply(torch.ones(1, 2), torch.ones(3, 2)).sum() == 6)
    except (AttributeError, RuntimeError, TypeError):
        return False


def _multiply(rows: Tensor, columns: Tensor, bias: Tensor | None = None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(_dense(rows), _dense(columns), bias, "none", [], "")
    return found


def _dense(matrix: Tensor) -> Tensor:
    """Without gaps in memory: of a slice such as `x[:, 0]` of three dimensions a product takes 600 times as long."""
    return matrix if matrix.is_contiguous() or matrix.mT.is_contiguous() else matrix.contiguous()


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor, columns: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(rows, columns)
        return _multiply(rows, columns, bias)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, columns = context.saved_tensors
        of_rows, of_columns, of_bias = context.needs_input_grad
        return (
            _multiply(gradient, columns.T) if of_rows else None,
            _multiply(gradient.T, rows.T) if of_columns else None,
            gradient.sum(dim=0) if of_bias else None,
        )
