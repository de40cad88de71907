"""What a fusion is: features or logits of several modalities in, one decision out."""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

from awase.types import Batch, Encoded

Features = Mapping[str, Float[Tensor, "batch _"]]
Logits = dict[str, Float[Tensor, "batch classes"]]
Presence = Mapping[str, Bool[Tensor, " batch"] | None]
"""Per modality, which samples have it; None: all of them."""


class Fusion(nn.Module):
    """Turns per-modality features, or the logits of per-modality heads, into (fused logits, per-modality logits).

    A fusion that mixes is built with `encoders` as well: it reads their sizes and keeps none of them.
    """

    needs_heads: ClassVar[bool]
    """Whether it works on the logits of one head per modality."""
    splits: ClassVar[bool] = True
    """Whether its logits are exactly a sum, or a mean, of one term per modality."""
    mixes: ClassVar[bool] = False
    """Whether the modalities meet inside the encoders: then `encode` runs them."""
    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, dims: dict[str, int], num_classes: int, multi_label: bool = False) -> None:
        super().__init__()
        self.dims = dims
        self.num_classes = num_classes
        self.multi_label = multi_label

    @property
    def feature_dims(self) -> dict[str, int]:
        """The sizes of the features that `forward` takes and that heads of single modalities see."""
        return self.dims

    def forward(
        self, features: Features, head_logits: Logits, present: Presence
    ) -> tuple[Float[Tensor, "batch classes"], Logits]:
        raise NotImplementedError

    def encode(self, encoders: Mapping[str, nn.Module], batch: Batch) -> dict[str, Encoded]:
        """The features of a fusion that mixes: rows of samples that lack a modality are zero in it."""
        raise NotImplementedError
