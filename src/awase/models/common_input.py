"""A projection under several keys of one input that is the same under all: what no key changes is computed once.

Of a layer W with adapters B_k A_k: W x + b is computed once, B_k A_k x is added per key. Of a gated unit, whose second
matrix acts on the first's output h_k = h + B_k A_k x,

    W2 h_k = W2 h + (W2 B_k) (A_k x)

which takes as many rows through W2 as the keys' ranks and the batch together, instead of K times the batch.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from awase.adapters import Bank
from awase.adapters.layers import LoraLinear, base_output, drops
from awase.adapters.mix import stacked
from awase.encoders.gated import GatedUnit
from awase.products import product


def project_common(
    head: nn.Module, x: Float[Tensor, "batch dim"], keys: Sequence[str]
) -> Float[Tensor, "keys batch out"] | None:
    """The head's output of `x` under every key; None for a head of another structure, and where adapters drop out.

    Heads are a linear layer, a gated unit, or a sequence that begins with one of these.
    """
    if isinstance(head, nn.Sequential) and len(head) > 1:
        first = project_common(head[0], x, keys)
        if first is None:
            return None
        with Bank(head).mixed(keys):
            rest: Tensor = head[1:](first.flatten(0, 1))
        parts: Tensor = rest.unflatten(0, (len(keys), -1))
        return parts
    if isinstance(head, GatedUnit):
        return _gated(head, x, keys) if _is_simple(head.fc, keys) and _is_simple(head.gate, keys) else None
    return _linear(head, x, keys)[0] if isinstance(head, LoraLinear) and _is_simple(head, keys) else None


def _gated(unit: GatedUnit, x: Tensor, keys: Sequence[str]) -> Tensor:
    assert isinstance(unit.fc, LoraLinear) and isinstance(unit.gate, LoraLinear), "it was looked at"  # noqa: PT018
    hidden, base, inner, high = _linear(unit.fc, x, keys)  # (keys, batch, out)
    if gate_is_cheaper(len(keys), len(x), unit.gate.out_features, inner.shape[2]):
        through = product(high.transpose(1, 2).flatten(0, 1), unit.gate.weight)  # (keys * rank, out)
        gate = torch.baddbmm(base_output(unit.gate, base), inner, through.unflatten(0, (len(keys), -1)))
        low, own = stacked([unit.gate.lora.get(key) for key in keys], hidden.shape[2], hidden.shape[2], hidden)
        gate = torch.baddbmm(gate, torch.bmm(hidden, low.transpose(1, 2)), own.transpose(1, 2))
    else:
        with Bank(unit.gate).mixed(keys):
            gate = unit.gate(hidden.flatten(0, 1)).unflatten(0, (len(keys), -1))
    gated = hidden * torch.sigmoid(gate)
    return F.normalize(gated, dim=-1) if unit.normalise else gated


def _linear(layer: LoraLinear, x: Tensor, keys: Sequence[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Per key W x + b + B A x; W x + b; per key A x; per key B."""
    base = base_output(layer, x)
    low, high = stacked([layer.lora.get(key) for key in keys], layer.in_features, layer.out_features, x)
    inner = F.linear(x, low.flatten(0, 1)).unflatten(1, (len(keys), -1)).transpose(0, 1)  # (keys, batch, rank)
    return torch.baddbmm(base, inner, high.transpose(1, 2)), base, inner, high


def gate_is_cheaper(keys: int, rows: int, width: int, rank: int) -> bool:
    """Whether W2 h, the products W2 B_k and what they give for the rows are fewer multiplications than K times W2 h_k.

    >>> gate_is_cheaper(keys=4, rows=128, width=6144, rank=8), gate_is_cheaper(keys=1, rows=128, width=6144, rank=8)
    (True, False)
    """
    return (rows + keys * rank) * width + keys * rows * rank < keys * rows * width


def _is_simple(layer: nn.Module, keys: Sequence[str]) -> bool:
    """Whether the layer has adapters of the keys, and none that drops inputs now, for every row anew."""
    if not isinstance(layer, LoraLinear):
        return False
    own = [adapter for key in keys if (adapter := layer.lora.get(key)) is not None]
    return bool(own) and not any(drops(adapter) for adapter in own)
