"""One linear layer for all modalities, and the mean of what it says of each."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from awase.fusion.base import Features, Fusion, Logits, Presence

Combine = Literal["entropy", "mean"]


class SharedHead(Fusion):
    """z_m = W h_m + b with the same W and b for every modality; z = sum_m w_m z_m over those that a sample has.

    In evaluation mode w_m is proportional to exp(-H(softmax(z_m))), H the entropy in nats: the more certain modality
    counts more. In training mode, and with `combine="mean"`, the mean. A sample without any modality gets zeros.
    Raises `ValueError` for features of different sizes, for another `combine`, and for entropy weights with several
    labels per sample, which softmax does not describe. Source: Zhang et al., CVPR 2024 (MLA), section 3.3: the weights
    are those of its released code, exp(max_j H_j - H_m) made to sum to one, of each sample instead of the whole batch.
    """

    needs_heads = False
    options = ("combine",)

    def __init__(
        self, dims: dict[str, int], num_classes: int, multi_label: bool = False, combine: str | None = None
    ) -> None:
        super().__init__(dims, num_classes, multi_label)
        if len(set(dims.values())) != 1:
            given = ", ".join(f"{name} {dim}" for name, dim in dims.items())
            raise ValueError(
                "A shared head needs features of the same size from every modality; these have "
                f"{given}. Choose encoders of one size, or another fusion."
            )
        self.combine = combine or ("mean" if multi_label else "entropy")
        if self.combine not in get_args(Combine):
            raise ValueError(f"A shared head combines by {' or '.join(get_args(Combine))}, not by {combine!r}.")
        if self.combine == "entropy" and multi_label:
            raise ValueError("Entropy weights need one label per sample; set combine='mean' for several.")
        self.linear = nn.Linear(next(iter(dims.values())), num_classes)

    def forward(
        self, features: Features, head_logits: Logits, present: Presence
    ) -> tuple[Float[Tensor, "batch classes"], Logits]:
        logits: Logits = {name: self.linear(features[name]) for name in self.dims}
        stacked = torch.stack(list(logits.values())).float()  # (modalities, batch, classes)
        weights = torch.ones_like(stacked[..., :1])
        if self.combine == "entropy" and not self.training:
            weights = certainty(stacked)
        shares = [
            weight if (rows := present[name]) is None else weight * rows[:, None]
            for name, weight in zip(self.dims, weights, strict=True)
        ]
        shared = torch.stack(shares)  # (modalities, batch, 1)
        total = shared.sum(dim=0)
        return (shared * stacked).sum(dim=0) / total.masked_fill(total == 0, 1.0), logits


def certainty(logits: Float[Tensor, "modalities batch classes"]) -> Float[Tensor, "modalities batch 1"]:
    """exp(-H(softmax(z))), between one over the number of classes and one."""
    logs = logits.log_softmax(dim=-1)
    return (logs.exp() * logs).sum(dim=-1, keepdim=True).exp()
