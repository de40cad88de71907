"""Several low-rank updates of one layer as one, computed in the small space that all of them share.

Of updates D_t = B_t A_t: U spans the columns of all B_t, V those of all A_t', so that D_t = U M_t V' exactly, with
cores M_t = U' B_t A_t V of the sum of the ranks at most. What is done to the cores is lifted back by U and V; nothing
of the layer's size is ever made. Source: Core Space (NeurIPS 2025), whose bases are these.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from awase.adapters.adapter import Adapter
from awase.adapters.bank import Bank
from awase.adapters.layers import CONVOLUTIONS

RULES = ("linear", "svd", "ties")
KEPT = 0.2
"""The share of a core's entries that `ties` keeps, as its authors do of all weights."""


def merged_adapters(
    bank: Bank, weights: Mapping[str, float], *, rule: str = "linear", rank: int | None = None, kept: float = KEPT
) -> dict[str, Adapter]:
    """The adapters of several keys as one per layer, by layer name; a key that a layer lacks counts as zero there.

    With cores M_t and weights w_t: `linear` sum w_t M_t, exact; `svd` the same cut to `rank`, by default the largest
    rank among the keys; `ties` trims each M_t to its `kept` largest entries, elects each entry's sign by sum w_t M_t,
    and takes the mean, weighted by w_t, of those that have it. Of `linear` and `ties` a `rank` cuts too. A cut keeps
    the largest singular values. The scale of what is returned is 1. Raises `KeyError` for an unknown key, `ValueError`
    for an unknown rule, a rank below 1, a share outside (0, 1], and weights below 0 with `ties`.
    """
    _check(weights, rule, rank, kept)
    held = {key: bank.adapters(key) for key in weights}
    merged = {}
    for name in bank.layer_names():
        own = {key: adapters[name] for key, adapters in held.items() if name in adapters}
        if not own:
            continue
        cut = max(adapter.rank for adapter in own.values()) if rule == "svd" and rank is None else rank
        layer = bank.encoder.get_submodule(name)
        merged[name] = _merged(layer, own, [weights[key] for key in own], rule, cut, kept)
    return merged


def merged_product(
    high: Sequence[Float[Tensor, "outputs _"]],
    low: Sequence[Float[Tensor, "_ inputs"]],
    weights: Sequence[float],
    *,
    rule: str,
    rank: int | None = None,
    kept: float = KEPT,
) -> tuple[Float[Tensor, "outputs rank"], Float[Tensor, "rank inputs"]]:
    """B and A of the merged update of the products `high[t] low[t]`, in float64; see `merged_adapters`.

    Their rank is `rank`, filled up with zeros where the core has less, or without a cut the core's.
    """
    columns, rows = torch.cat(list(high), dim=1).double(), torch.cat(list(low), dim=0).double()
    left, right = _basis(columns), _basis(rows.T)
    cores = torch.stack([left.T @ b.double() @ a.double() @ right for b, a in zip(high, low, strict=True)])
    core = _combined(cores, torch.tensor(weights, dtype=torch.float64, device=cores.device), rule, kept)
    u, values, vh = torch.linalg.svd(core, full_matrices=False)
    size = len(values) if rank is None else rank
    root = values[:size].sqrt()
    b, a = left @ (u[:, :size] * root), (root[:, None] * vh[:size]) @ right.T
    missing = size - b.shape[1]
    if missing > 0:
        b, a = nn.functional.pad(b, (0, missing)), nn.functional.pad(a, (0, 0, 0, missing))
    return b, a


def _combined(
    cores: Float[Tensor, "keys left right"], weights: Float[Tensor, " keys"], rule: str, kept: float
) -> Float[Tensor, "left right"]:
    if rule != "ties":
        return torch.einsum("t,tij->ij", weights, cores)
    flat = cores.flatten(1)
    count = max(1, round(kept * flat.shape[1]))
    smallest = flat.abs().sort(dim=1, descending=True).values[:, count - 1 : count]
    trimmed = torch.where(flat.abs() >= smallest, flat, 0).view_as(cores)
    weighted = weights[:, None, None] * trimmed
    agree = (trimmed.sign() == weighted.sum(0).sign()) & (trimmed != 0)
    total = (weights[:, None, None] * agree).sum(0)
    return torch.where(total > 0, (weighted * agree).sum(0) / total.clamp_min(1e-300), 0)


def _basis(columns: Float[Tensor, "size count"]) -> Float[Tensor, "size _"]:
    """The left singular vectors: orthonormal columns whose span holds the given ones; they do not depend on the order.

    Through a QR decomposition, so that the singular values are those of a small matrix.
    """
    q, r = torch.linalg.qr(columns)
    vectors: Tensor = q @ torch.linalg.svd(r, full_matrices=False).U
    return vectors


def _merged(
    layer: nn.Module,
    adapters: Mapping[str, Adapter],
    weights: Sequence[float],
    rule: str,
    rank: int | None,
    kept: float,
) -> Adapter:
    groups = layer.groups if isinstance(layer, CONVOLUTIONS) else 1
    some = next(iter(adapters.values()))
    high = [(one.B.detach() * one.scale).reshape(groups, -1, one.rank) for one in adapters.values()]
    low = [one.A.detach().reshape(groups, one.rank, -1) for one in adapters.values()]
    parts = [
        merged_product([b[g] for b in high], [a[g] for a in low], weights, rule=rule, rank=rank, kept=kept)
        for g in range(groups)
    ]
    b, a = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    size = parts[0][0].shape[1]
    return Adapter(
        a.to(some.A.dtype).view(groups * size, *some.A.shape[1:]).contiguous(),
        b.to(some.B.dtype).view(-1, size, *some.B.shape[2:]).contiguous(),
        scale=1.0,
        dropout=some.dropout,
    )


def _check(weights: Mapping[str, float], rule: str, rank: int | None, kept: float) -> None:
    if rule not in RULES:
        raise ValueError(f"There is no rule {rule!r}; valid names: {', '.join(RULES)}.")
    if rank is not None and rank < 1:
        raise ValueError(f"A rank is 1 or more; given: {rank}.")
    if not 0 < kept <= 1:
        raise ValueError(f"The share that is kept lies in (0, 1]; given: {kept}.")
    if rule == "ties" and min(weights.values(), default=0.0) < 0:
        raise ValueError(f"Weights of `ties` are 0 or more; given: {dict(weights)}. Use the rule linear.")
