"""Several encoders, one decision."""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from awase.fusion import Fusion
from awase.fusion.rows import encode_rows, presence_of
from awase.types import Batch, ClassifierOutput, Encoded

Edit = Callable[
    [Mapping[str, Tensor], Mapping[str, Tensor | None], Batch], tuple[Mapping[str, Tensor], Mapping[str, Tensor | None]]
]
"""(features, presence, batch) -> what goes into the fusion instead, in training."""

ADAPTER_MARK = ".lora."
"""Names of adapter tensors contain this; everything else inside an encoder is the encoder's own."""


class Classifier(nn.Module):
    """Encoders per modality, the fusion, and heads per modality where the fusion works on their logits.

    Heads beside a fusion that does not need them give each modality logits of its own. Everything with state belongs
    to exactly one named part: `<modality>.encoder`, `<modality>.adapter`,
    `<modality>.head`, `fusion`.
    """

    def __init__(self, encoders: Mapping[str, nn.Module], heads: Mapping[str, nn.Module], fusion: Fusion) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(dict(encoders))
        self.heads = nn.ModuleDict(dict(heads))
        self.fusion = fusion

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in the order in which they were given."""
        return tuple(self.encoders)

    @property
    def mixes(self) -> bool:
        """Whether a modality's features depend on the other modalities, so that they cannot be reused without them."""
        return self.fusion.mixes

    def encode(self, batch: Batch, known: Mapping[str, Encoded] | None = None) -> dict[str, Encoded]:
        """Each modality's features; rows of samples that lack it are zero, and the encoder never sees them.

        A modality that the batch does not have at all is absent from every sample. `known` are features that need not
        be computed.
        """
        if self.fusion.mixes:
            return self.fusion.encode(dict(self.encoders.items()), batch)
        encoded = dict(known or {})
        for name, encoder in self.encoders.items():
            if name in encoded:
                continue
            if name not in batch.inputs:
                dim = cast(int, encoder.dim)
                encoded[name] = Encoded(torch.zeros(len(batch), dim, device=batch.index.device))
                continue
            encoded[name] = encode_rows(encoder, batch.inputs[name], presence_of(batch, name))
        return encoded

    def decide(
        self, features: Mapping[str, Float[Tensor, "batch _"]], present: Mapping[str, Bool[Tensor, " batch"] | None]
    ) -> tuple[Float[Tensor, "batch classes"], dict[str, Float[Tensor, "batch classes"]]]:
        """(fused logits, logits per modality) of features already encoded, in float32.

        The logits per modality are the fusion's split; where there are heads that the fusion does not need, theirs.
        """
        head_logits = {name: head(features[name]).float() for name, head in self.heads.items()}
        logits, split = self.fusion(features, head_logits, present)
        own = split if self.fusion.needs_heads or not head_logits else head_logits
        return logits.float(), {name: value.float() for name, value in own.items()}

    def forward(
        self, batch: Batch, *, edit: Edit | None = None, known: Mapping[str, Encoded] | None = None
    ) -> ClassifierOutput:
        encoded = self.encode(batch, known)
        present: Mapping[str, Tensor | None] = presence(batch, self.modalities)
        features: Mapping[str, Tensor] = {name: value.pooled for name, value in encoded.items()}
        if edit is not None:
            features, present = edit(features, present, batch)
        logits, modality_logits = self.decide(features, present)
        return ClassifierOutput(logits, modality_logits, encoded)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Part name -> state name -> tensor, covering every entry of the state dictionary exactly once."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.state_dict(keep_vars=True).items():
            parts.setdefault(part_of(name), {})[name] = tensor
        return parts


def presence(batch: Batch, modalities: tuple[str, ...]) -> dict[str, Bool[Tensor, " batch"] | None]:
    """Per modality which samples have it; None: all of them."""
    return {name: presence_of(batch, name) for name in modalities}


def part_of(state_name: str) -> str:
    """The part to which an entry of a classifier's state dictionary belongs.

    >>> part_of("encoders.audio.q.lora.default.A"), part_of("heads.audio.weight"), part_of("fusion.linear.bias")
    ('audio.adapter', 'audio.head', 'fusion')
    """
    kind, _, rest = state_name.partition(".")
    modality = rest.partition(".")[0]
    if kind == "encoders":
        return f"{modality}.adapter" if ADAPTER_MARK in state_name else f"{modality}.encoder"
    return f"{modality}.head" if kind == "heads" else kind
