"""A frozen linear layer and its adapter as one differentiable function: no gradient of the base weight, few passes.

    forward    y = x W' + b + s (x A') B'
    backward   g = s dy B,  dx = dy W + g A,  dA = g' x,  dB = s dy' (x A')

The skinny products are bound by memory, not by arithmetic, so what counts is how often large tensors are passed over.
`dx` begins as `g A` and the base product is added by the multiplication itself. On a CPU `F.linear` first copies the
bias into its output and then adds the product in the same way; there the bias rides along in the adapter's product (a
column of ones), which takes the copy's place. In every order the base product is the one `F.linear` computes: with
B = 0 the output equals the base layer's bit for bit.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def frozen_linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None,
    a: Float[Tensor, "rank inputs"],
    b: Float[Tensor, "outputs rank"],
    scale: float,
) -> Float[Tensor, "*batch outputs"]:
    """`x W' + bias + scale (x A') B'`, differentiable in `x`, `a` and `b` once, and not in `weight` or `bias`.

    Computes in the type of `x`, or in autocast's; `a` and `b` keep their own type, and their gradients have it.
    """
    return in_own_type(_FrozenLinear.apply, x, weight, bias, a, b, scale)


def in_own_type(
    function: Callable[..., Any], x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Tensor | float
) -> Tensor:
    """`function` of all that is given, outside of autocast, with `x`, `weight` and `bias` in the type it asks for."""
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            cast: Tensor = function(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype), *rest)
            return cast
    output: Tensor = function(x, weight, bias, *rest)
    return output


class _FrozenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        low, scaled = a.to(x.dtype), b.to(x.dtype) * scale
        if bias is not None and _writes_bias_first(x):
            output, hidden = _bias_in_product(x, weight, bias, low, scaled)
        else:
            output, hidden = _base_then_product(x, weight, bias, low, scaled)
        ctx.save_for_backward(x, weight, a, b, hidden)
        ctx.scale = scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None, None, Tensor | None, Tensor | None, None]:
        x, weight, a, b, hidden = ctx.saved_tensors
        needs_x, _, _, needs_a, needs_b, _ = ctx.needs_input_grad
        rows = dy.reshape(-1, weight.shape[0])
        dx = da = db = None
        with torch.autocast(dy.device.type, enabled=False):
            g = torch.mm(rows, b.to(dy.dtype) * ctx.scale)
            if needs_x:
                dx = torch.mm(g, a.to(dy.dtype)).addmm_(rows, weight).view(x.shape)
            if needs_a:
                da = torch.mm(g.t(), x.reshape(-1, x.shape[-1])).to(a.dtype)
            if needs_b:
                db = torch.mm(hidden.t(), rows).t().to(b.dtype) * ctx.scale
        return dx, None, None, da, db, None


def _writes_bias_first(x: Tensor) -> bool:
    """Whether `F.linear` copies the bias into the output and adds the product to it, so that more may be written."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and x.dim() >= 2 and x.is_contiguous()


def _bias_in_product(x: Tensor, weight: Tensor, bias: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    rows, rank = x.view(-1, x.shape[-1]), a.shape[0]
    hidden = x.new_empty(rows.shape[0], rank + 1)  # x A' and a column of ones for the bias
    torch.mm(rows, a.t(), out=hidden[:, :rank])
    hidden[:, rank] = 1
    output = torch.mm(hidden, torch.cat([b, bias[:, None]], dim=1).t())
    output.addmm_(rows, weight.t())
    return output.view(*x.shape[:-1], weight.shape[0]), hidden[:, :rank]


def _base_then_product(x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    output = F.linear(x, weight, bias).contiguous()
    hidden = torch.mm(x.reshape(-1, x.shape[-1]), a.t())
    output.view(-1, weight.shape[0]).addmm_(hidden, b.t())
    return output, hidden
