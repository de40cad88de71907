"""The gated unit of text-video retrieval: a linear layer whose output gates itself."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from awase.products import Linear


class GatedUnit(nn.Module):
    """y = h * sigmoid(W2 h + b2) with h = W1 x + b1.

    `fc` is (in_dim -> out_dim), `gate` (out_dim -> out_dim). `normalise` divides y by its Euclidean length, as
    HowTo100M's text-video model does (Miech et al., ICCV 2019, eq. 1 and 2); AVLnet and MCN do not.
    """

    def __init__(self, in_dim: int, out_dim: int, *, normalise: bool = False) -> None:
        super().__init__()
        self.fc = Linear(in_dim, out_dim)
        self.gate = Linear(out_dim, out_dim)
        self.normalise = normalise

    def forward(self, x: Float[Tensor, "*batch in_dim"]) -> Float[Tensor, "*batch out_dim"]:
        """The gated projection of `x`; a vector of zeros stays zeros when it is normalised."""
        hidden = self.fc(x)
        gated: Tensor = hidden * torch.sigmoid(self.gate(hidden))
        return F.normalize(gated, dim=-1) if self.normalise else gated
