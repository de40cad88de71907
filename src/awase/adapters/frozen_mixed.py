"""A frozen linear layer and a batch of adapters, one per group of rows, as one differentiable function.

    forward    y_g = x_g W' + b + (x_g A_g') B_g'
    backward   h_g = dy_g B_g,  dx_g = dy_g W + h_g A_g,  dA_g = h_g' x_g,  dB_g = dy_g' (x_g A_g')

A group is a sample with its tokens, or all rows of one key. The scale is part of `B`. Why one function: see
`frozen_linear`, which is the same for one group.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def frozen_mixed(
    x: Float[Tensor, "groups rows inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None,
    a: Float[Tensor, "groups rank inputs"],
    b: Float[Tensor, "groups outputs rank"],
) -> Float[Tensor, "groups rows outputs"]:
    """The formula above, differentiable in `x`, `a` and `b` once, and not in `weight` or `bias`.

    Computes in the type of `x`, or in autocast's; `a` and `b` keep their own type, and their gradients have it.
    """
    device = x.device.type
    if not torch.is_autocast_enabled(device) or x.dtype == torch.float64:
        return _apply(x, weight, bias, a, b)
    dtype = torch.get_autocast_dtype(device)
    with torch.autocast(device, enabled=False):
        return _apply(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype), a, b)


def _apply(x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    output: Tensor = _FrozenMixed.apply(x, weight, bias, a, b)
    return output


class _FrozenMixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
        low, high = a.to(x.dtype), b.to(x.dtype)
        hidden = torch.bmm(x, low.transpose(1, 2))
        output = F.linear(x, weight, bias).contiguous()
        output.baddbmm_(hidden, high.transpose(1, 2))
        ctx.save_for_backward(x, weight, a, b, hidden)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None, None, Tensor | None, Tensor | None]:
        x, weight, a, b, hidden = ctx.saved_tensors
        needs_x, _, _, needs_a, needs_b = ctx.needs_input_grad
        dx = da = db = None
        with torch.autocast(dy.device.type, enabled=False):
            g = torch.bmm(dy, b.to(dy.dtype))
            if needs_x:
                dx = torch.bmm(g, a.to(dy.dtype))
                dx.view(-1, weight.shape[1]).addmm_(dy.reshape(-1, weight.shape[0]), weight)
            if needs_a:
                da = torch.bmm(g.transpose(1, 2), x).to(a.dtype)
            if needs_b:
                db = torch.bmm(dy.transpose(1, 2), hidden).to(b.dtype)
        return dx, None, None, da, db
