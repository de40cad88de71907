"""The rows of all processes, one share after the other; on one process the tensor itself.

Shares may differ in length and may be empty. Every process must make the same calls in the same order, and where a
gradient flows, every process must run backward, with an empty share too.
"""

from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch import distributed as dist

from awase.distributed.world import World


def gather_rows(tensor: Shaped[Tensor, "rows *rest"], world: World) -> Shaped[Tensor, "all_rows *rest"]:
    """The rows of all processes in the order of their ranks, with gradient.

    The gradient of a row is the sum of what reaches it on all processes: where each process has the loss of its own
    samples, the gradient of a process's rows is that of the sum of the losses of all.
    If one process's rows need a gradient, the result needs one on all of them, so that all take part in backward.
    """
    if world.size == 1:
        return tensor
    counts, learns = _exchange(tensor, world)
    if not learns:
        return _gathered(tensor.detach(), counts)
    if not tensor.requires_grad:
        tensor = tensor.detach().requires_grad_()
    rows: Tensor = _GatherRows.apply(tensor, counts, world.rank)
    return rows


@torch.no_grad()
def gather_constant(tensor: Shaped[Tensor, "rows *rest"], world: World) -> Shaped[Tensor, "all_rows *rest"]:
    """The rows of all processes in the order of their ranks, without gradient."""
    if world.size == 1:
        return tensor.detach()
    return _gathered(tensor.detach(), _exchange(tensor, world)[0])


@torch.no_grad()
def first_row(tensor: Shaped[Tensor, "rows *rest"], world: World) -> int:
    """The place of this process's first row among the rows of all processes."""
    return sum(_exchange(tensor, world)[0][: world.rank]) if world.size > 1 else 0


@torch.no_grad()
def copy_from_first(tensor: Tensor, world: World) -> None:
    """Overwrites `tensor` with what the first process has, so that not even rounding differs; nothing on one."""
    if world.size > 1:
        dist.broadcast(tensor.detach(), 0)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: Tensor, counts: tuple[int, ...], rank: int) -> Tensor:
        context.first, context.rows = sum(counts[:rank]), counts[rank]
        return _gathered(tensor.detach(), counts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total.narrow(0, context.first, context.rows), None, None


def _exchange(tensor: Tensor, world: World) -> tuple[tuple[int, ...], bool]:
    """The number of rows of each process, and whether the rows of any of them need a gradient."""
    learns = torch.is_grad_enabled() and tensor.requires_grad
    own = torch.tensor([len(tensor), int(learns)], device=tensor.device)
    found = [torch.empty_like(own) for _ in range(world.size)]
    dist.all_gather(found, own)
    rows, flags = torch.stack(found).T.tolist()
    return tuple(rows), any(flags)


def _gathered(tensor: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Shares are padded to the longest one on their way: not every backend takes uneven ones."""
    longest = max(counts)
    padded = tensor.new_zeros(longest, *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    found = [torch.empty_like(padded) for _ in counts]
    if padded.numel() > 0:
        dist.all_gather(found, padded)
    return torch.cat([share[:rows] for share, rows in zip(found, counts, strict=True)])
