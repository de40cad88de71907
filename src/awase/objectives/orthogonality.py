"""O-LoRA: the directions a new adapter reads are orthogonal to those of the old ones."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def orthogonality(
    new: Mapping[str, Float[Tensor, "_ *_"]],
    old: Sequence[Mapping[str, Float[Tensor, "_ *_"]]],
    *,
    strength: float = 0.5,
) -> Float[Tensor, ""]:
    """strength sum over old adapters and layers of sum_rs |A_old A_new^T|_rs, of their matrices A by layer.

    A: (rank, inputs), or of a convolution (rank, channels, *kernel), flattened; ranks may differ. Gradient to the new
    ones alone. A layer that only one of two adapters has adds nothing; without old adapters it is 0. One value, of the
    weights and not of samples. Orthogonal matrices do not make the outputs on old data stay: that is what the
    initialisations in `awase.adapters` are for.
    Source: Wang et al., Findings of EMNLP 2023, in the entrywise L1 form and with the strength of the released code.
    """
    total = torch.zeros((), device=next((a.device for a in new.values()), None))
    for adapter in old:
        for layer in adapter.keys() & new.keys():
            total = total + (adapter[layer].detach().flatten(1) @ new[layer].flatten(1).T).abs().sum()
    return strength * total
