"""The matrices of one adapter in PEFT's shapes and names, and back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from awase.adapters.adapter import Adapter, adapter_dtype
from awase.adapters.layers import CONVOLUTIONS
from awase.adapters.product import adapter_shapes

PROJECTIONS = ("q", "k", "v")
A, B = "lora_A.weight", "lora_B.weight"
EMBEDDING_A, EMBEDDING_B = "lora_embedding_A", "lora_embedding_B"


@dataclass(frozen=True)
class Entry:
    """One layer of a PEFT file: its tensors by the end of their names, the rank PEFT sees, the scale and dropout."""

    tensors: dict[str, Tensor]
    rank: int
    scale: float
    dropout: float


def to_peft(name: str, layer: nn.Module, adapter: Adapter) -> Entry:
    """The entry of `adapter` on `layer`.

    PEFT's `A` is not grouped, so a grouped convolution's has zeros outside each group's own channels. Raises
    `ValueError` for a convolution with dilation or a padding mode, which PEFT's own branch leaves out.
    """
    a, b = (matrix.detach().cpu().contiguous() for matrix in (adapter.A, adapter.B))
    if isinstance(layer, nn.Embedding):
        return Entry({EMBEDDING_A: a, EMBEDDING_B: b}, adapter.rank, adapter.scale, adapter.dropout)
    if isinstance(layer, CONVOLUTIONS):
        if any(step != 1 for step in layer.dilation) or layer.padding_mode != "zeros":
            raise ValueError(
                f"{name} has dilation or a padding mode, which PEFT's branch for convolutions ignores: its outputs "
                "would differ. Leave the layer out of the targets, or merge the adapter and save the whole model."
            )
        a = _spread_groups(a, layer.groups)
    return Entry({A: a, B: b}, a.shape[0], adapter.scale, adapter.dropout)


def from_peft(
    name: str, layer: nn.Module, parts: Mapping[str, Tensor], scale: Callable[[int], float], dropout: float
) -> Adapter:
    """The adapter for `layer` from PEFT's tensors; `scale` maps PEFT's rank to the factor of the product.

    Raises `ValueError` for a missing half, shapes that do not fit the layer, and an adapter on a grouped convolution
    that mixes its groups, which is no update of the layer's weight.
    """
    wanted = (EMBEDDING_A, EMBEDDING_B) if isinstance(layer, nn.Embedding) else (A, B)
    if set(parts) != set(wanted):
        raise ValueError(f"Layer {name} needs {' and '.join(wanted)}; the file has {', '.join(sorted(parts))}.")
    a, b = (parts[part] for part in wanted)
    rank = a.shape[0]
    if isinstance(layer, CONVOLUTIONS) and layer.groups > 1:
        a = _gather_groups(name, a, layer.groups)
    shapes = adapter_shapes(layer, b.shape[1])
    if (tuple(a.shape), tuple(b.shape)) != shapes:
        raise ValueError(
            f"Layer {name} needs A and B of shapes {shapes}; the file has {tuple(a.shape)}, {tuple(b.shape)}."
        )
    weight = layer.get_parameter("weight")
    a, b = (matrix.to(weight.device, adapter_dtype(weight)) for matrix in (a, b))
    return Adapter(a, b, scale=scale(rank), dropout=dropout)


def fuse_projections(entries: dict[str, Entry]) -> dict[str, Entry]:
    """The entries with those of `<name>.q`, `.k`, `.v` replaced by one on `<name>`: `A` stacked, `B` block-diagonal.

    An absent projection's block is zero and has no rank. Raises `ValueError` for a lone one whose siblings' sizes
    cannot be known, and for scales that differ.
    """
    fused: dict[str, Entry] = {}
    for name, entry in entries.items():
        parent, _, role = name.rpartition(".")
        if role not in PROJECTIONS or not parent:
            fused[name] = entry
        elif parent not in fused:
            fused[parent] = _fuse([entries.get(f"{parent}.{each}") for each in PROJECTIONS])
    return fused


def _fuse(projections: list[Entry | None]) -> Entry:
    present = [entry for entry in projections if entry is not None]
    if len({(entry.scale, entry.dropout) for entry in present}) > 1:
        raise ValueError("Adapters on q, k and v of one attention have different scales and cannot become one.")
    outputs = present[0].tensors[B].shape[0]
    blocks = [torch.zeros(outputs, 0) if entry is None else entry.tensors[B] for entry in projections]
    low = torch.cat([entry.tensors[A] for entry in present])
    return Entry({A: low, B: torch.block_diag(*blocks)}, low.shape[0], present[0].scale, present[0].dropout)


def split_projections(layers: dict[str, dict[str, Tensor]], encoder: nn.Module) -> dict[str, dict[str, Tensor]]:
    """The tensors with those of a fused `<name>` given to `<name>.q`, `.k` and `.v` where `encoder` has these instead.

    Each gets all of `A` and its third of the rows of `B`.
    """
    modules = dict(encoder.named_modules())
    result: dict[str, dict[str, Tensor]] = {}
    for name, parts in layers.items():
        split = [f"{name}.{role}" for role in PROJECTIONS]
        if set(parts) != {A, B} or not all(isinstance(modules.get(each), nn.Linear) for each in split):
            result[name] = parts
            continue
        for each, rows in zip(split, parts[B].chunk(3), strict=True):
            result[each] = {A: parts[A].clone(), B: rows.clone()}
    return result


def _spread_groups(a: Tensor, groups: int) -> Tensor:
    """(groups * rank, in / groups, ...) to (groups * rank, in, ...), zero outside the group's own channels."""
    rank, width = a.shape[0] // groups, a.shape[1]
    spread = a.new_zeros(a.shape[0], groups * width, *a.shape[2:])
    for group in range(groups):
        rows = slice(group * rank, (group + 1) * rank)
        spread[rows, group * width : (group + 1) * width] = a[rows]
    return spread


def _gather_groups(name: str, a: Tensor, groups: int) -> Tensor:
    """The inverse of `_spread_groups`; raises `ValueError` where something outside the groups is not zero."""
    rank, width = a.shape[0] // groups, a.shape[1] // groups
    picked = [a[g * rank : (g + 1) * rank, g * width : (g + 1) * width] for g in range(groups)]
    gathered = torch.cat(picked)
    if not torch.equal(_spread_groups(gathered, groups), a):
        raise ValueError(
            f"The adapter of the grouped convolution {name} mixes its {groups} groups, so it is no update of the "
            "layer's weight and could never be merged; it cannot be loaded."
        )
    return gathered
