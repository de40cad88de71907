"""New adapters for a layer, and the full-size weight that an adapter stands for."""

import math

import torch
from torch import Tensor, nn

from awase.adapters.adapter import EMBEDDING_STD, Adapter, adapter_dtype


def new_adapter(
    layer: nn.Module, rank: int, *, scale: float, dropout: float, generator: torch.Generator | None
) -> Adapter:
    """An adapter for `layer` whose product is zero: `A` Kaiming-uniform with a = sqrt(5), `B` zero.

    For an embedding `A` is zero and `B` normal, as its `A` is looked up and not multiplied: entries of Kaiming's size
    1 / sqrt(rows) would hold it still. Without a generator the matrices are left uninitialised, to be loaded.
    """
    shape_a, shape_b = adapter_shapes(layer, rank)
    weight: Tensor = layer.weight  # type: ignore[assignment]
    a, b = (torch.zeros(shape, dtype=adapter_dtype(weight)) for shape in (shape_a, shape_b))
    if generator is not None and isinstance(layer, nn.Embedding):
        nn.init.normal_(b, std=EMBEDDING_STD, generator=generator)
    elif generator is not None:
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
    return Adapter(a.to(weight.device), b.to(weight.device), scale=scale, dropout=dropout)


def adapter_shapes(layer: nn.Module, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of `A` and `B` of the given rank; the table is at `Adapter`."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    if isinstance(layer, nn.Embedding):
        return (rank, weight.shape[0]), (weight.shape[1], rank)
    groups = layer.groups if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) else 1
    ones = (1,) * (weight.dim() - 2)
    return (groups * rank, *weight.shape[1:]), (weight.shape[0], rank, *ones)


def delta_weight(layer: nn.Module, adapter: Adapter) -> Tensor:
    """`scale * B A` in the shape of the layer's weight: what `W` gains when the adapter is merged.

    A grouped convolution has one product per group; an embedding's is transposed.
    """
    a, b = adapter.A, adapter.B
    if isinstance(layer, nn.Embedding):
        return adapter.scale * (b @ a).t()
    groups = layer.groups if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) else 1
    low = a.reshape(groups, adapter.rank, -1)
    high = b.reshape(groups, -1, adapter.rank)
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return adapter.scale * torch.bmm(high, low).reshape(weight.shape)
