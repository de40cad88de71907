"""The low-rank matrices of one key on one layer, and the container that keeps them by key."""

from collections import Counter
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


class Switch:
    """What acts in an encoder now, shared by all its adapted layers, so that changing it changes one object.

    `active` is the key whose product every layer adds, unless `mix` gives each row of a batch a key of its own;
    `merged` the key whose product the weights contain. `keys` counts the layers of each key, in the order of adding.
    """

    def __init__(self) -> None:
        self.active: str | None = None
        self.mix: Mix | None = None
        self.merged: str | None = None
        self.keys: Counter[str] = Counter()


class Adapters(nn.Module):
    """Adapters of one layer by key, and what the layer was before. A key may be a name that `nn.Module` uses (`type`).

    While a key is merged, `original` is the layer's weight without it.
    """

    def __init__(self, original_class: type[nn.Module], switch: Switch) -> None:
        super().__init__()
        self.original_class = original_class
        self.switch = switch
        self.original: Tensor | None = None

    @property
    def acting(self) -> Adapter | None:
        """The adapter whose product the layer adds now; None while it is switched off, absent or merged."""
        switch = self.switch
        if switch.active is None or switch.mix is not None or switch.merged is not None:
            return None
        return self.get(switch.active)

    @property
    def mix(self) -> "Mix | None":
        """Which adapter each row of a batch has now; None where they do not differ, or this layer has none of them."""
        mix = self.switch.mix
        return (
            mix if mix is not None and any(key is not None and self.get(key) is not None for key in mix.keys) else None
        )

    def names(self) -> tuple[str, ...]:
        """The keys in the order in which they were added."""
        return tuple(self._modules)

    def get(self, key: str) -> Adapter | None:
        """The adapter of `key`, or None where this layer has none."""
        adapter = self._modules.get(key)
        return adapter if isinstance(adapter, Adapter) else None

    def put(self, key: str, adapter: Adapter) -> None:
        """Adds or replaces the adapter of `key`."""
        if key not in self._modules:
            self.switch.keys[key] += 1
        self._modules[key] = adapter

    def drop(self, key: str) -> None:
        """Forgets the adapter of `key`; a layer that has none stays as it is."""
        if self._modules.pop(key, None) is not None:
            self.switch.keys[key] -= 1
            self.switch.keys += Counter()  # forgets a key that no layer has


def adapter_dtype(weight: Tensor) -> torch.dtype:
    """float64 beside a float64 layer, otherwise float32: adapters stay exact beside a layer kept in bfloat16."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def like(tensor: Tensor, input: Tensor) -> Tensor:
    """`tensor` in the type of `input`, unless autocast chooses the type."""
    return tensor if torch.is_autocast_enabled(input.device.type) else tensor.to(input.dtype)
