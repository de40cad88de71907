"""The low-rank matrices of one key on one layer, and the container that keeps them by key."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from awase.adapters.mix import Mix

EMBEDDING_STD = 1.0


class Adapter(nn.Module):
    """`A` and `B` of the update `scale * B A`, shaped so that the layer's own operation can use them.

    | layer | `A` | `B` |
    | --- | --- | --- |
    | Linear | (rank, in) | (out, rank) |
    | Conv with `groups` groups | (groups * rank, in / groups, *kernel) | (out, rank, 1, ...) |
    | Embedding | (rank, rows) | (width, rank) |

    `scale` is alpha / rank. `dropout` applies to the adapter's input in training mode.
    """

    def __init__(self, a: Tensor, b: Tensor, *, scale: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.A = nn.Parameter(a)
        self.B = nn.Parameter(b)
        self.scale = scale
        self.dropout = dropout

    @property
    def rank(self) -> int:
        """The number of columns of `B`, per group."""
        return self.B.shape[1]

    def extra_repr(self) -> str:
        return f"rank={self.rank}, scale={self.scale}, dropout={self.dropout}"


class Adapters(nn.Module):
    """Adapters of one layer by key, and what the layer was before. A key may be a name that `nn.Module` uses (`type`).

    `active` is the key whose product the layer adds, unless `mix` gives every row of a batch a key of its own; `merged`
    the key whose product its weight contains, and `original` that weight without it.
    """

    def __init__(self, original_class: type[nn.Module]) -> None:
        super().__init__()
        self.original_class = original_class
        self.active: str | None = None
        self.mix: Mix | None = None
        self.merged: str | None = None
        self.original: Tensor | None = None

    @property
    def acting(self) -> Adapter | None:
        """The adapter whose product the layer adds now; None while it is switched off, absent or merged."""
        if self.active is None or self.mix is not None or self.merged is not None:
            return None
        return self.get(self.active)

    @property
    def mixes(self) -> bool:
        """Whether rows of a batch have different adapters now, and this layer has one of them."""
        return self.mix is not None and any(key is not None and self.get(key) is not None for key in self.mix.keys)

    def names(self) -> tuple[str, ...]:
        """The keys in the order in which they were added."""
        return tuple(self._modules)

    def get(self, key: str) -> Adapter | None:
        """The adapter of `key`, or None where this layer has none."""
        adapter = self._modules.get(key)
        return adapter if isinstance(adapter, Adapter) else None

    def put(self, key: str, adapter: Adapter) -> None:
        """Adds or replaces the adapter of `key`."""
        self._modules[key] = adapter

    def drop(self, key: str) -> None:
        """Forgets the adapter of `key`; a layer that has none stays as it is."""
        self._modules.pop(key, None)


def adapter_dtype(weight: Tensor) -> torch.dtype:
    """float64 beside a float64 layer, otherwise float32: adapters stay exact beside a layer kept in bfloat16."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def like(tensor: Tensor, input: Tensor) -> Tensor:
    """`tensor` in the type of `input`, unless autocast chooses the type."""
    return tensor if torch.is_autocast_enabled(input.device.type) else tensor.to(input.dtype)
