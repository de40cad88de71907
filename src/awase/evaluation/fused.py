"""One embedding of several modalities: t.(v + a) is the dot product of t with the sum of v and a."""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

FusedMode = Literal["sum", "normalised_mean"]


def fused(
    embeddings: Mapping[str, Float[Tensor, "items dim"]],
    present: Mapping[str, Bool[Tensor, " items"]] | None = None,
    *,
    mode: FusedMode = "sum",
) -> tuple[Float[Tensor, "items dim"], Bool[Tensor, " items"]]:
    """Returns one embedding per item and which items have one; rows without one are zero.

    `sum`: the raw sum, of the items that have every modality, so that a long modality weighs more; an item that lacks
    one has no embedding, which ranks count as a failure. `normalised_mean`: the mean of the unit vectors of the
    modalities that an item has; an item without any has no embedding. `present` may leave out complete modalities.
    Raises `ValueError` without a modality, for another mode, and for an unknown name in `present`.
    Example: for `{"video": [[3., 4.]], "audio": [[0., 1.]]}` the sum is `[[3., 5.]]`, the mean `[[.3, .9]]`.
    """
    masks = dict(present or {})
    if not embeddings or not set(masks) <= set(embeddings):
        raise ValueError(
            f"Fusing needs the embeddings of every modality named: {sorted(masks)} of {sorted(embeddings)}."
        )
    if mode not in ("sum", "normalised_mean"):
        raise ValueError(f"Embeddings are fused by 'sum' or 'normalised_mean'; given: {mode!r}.")
    first = next(iter(embeddings.values()))
    everyone = torch.ones(len(first), dtype=torch.bool, device=first.device)
    real = {name: masks.get(name, everyone) for name in embeddings}
    rows = {name: value.masked_fill(~real[name][:, None], 0) for name, value in embeddings.items()}
    count = torch.stack(list(real.values())).sum(0)
    if mode == "sum":
        whole = count == len(embeddings)
        return torch.stack(list(rows.values())).sum(0).masked_fill(~whole[:, None], 0), whole
    total = torch.stack([torch.nn.functional.normalize(value, dim=1) for value in rows.values()]).sum(0)
    return total / count.clamp(min=1)[:, None], count > 0
