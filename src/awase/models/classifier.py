"""Several encoders, one decision."""

from collections.abc import Callable, Mapping

from jaxtyping import Bool, Float
from torch import Tensor, nn

from awase.adapters import Bank
from awase.fusion import Fusion
from awase.models.encode import encode_batch, presence
from awase.models.parts import parts_of
from awase.types import Batch, ClassifierOutput, Encoded

Edit = Callable[
    [Mapping[str, Tensor], Mapping[str, Tensor | None], Batch], tuple[Mapping[str, Tensor], Mapping[str, Tensor | None]]
]
"""(features, presence, batch) -> what goes into the fusion instead, in training."""


class Classifier(nn.Module):
    """Encoders per modality, the fusion, and heads per modality where the fusion works on their logits.

    With `routes`, heads per modality of every key, the encoders have adapters of the same keys: `route` chooses whose
    adapters and heads answer; None: the base without any. The last key answers at first.

    Heads beside a fusion that does not need them give each modality logits of its own. Everything with state belongs
    to exactly one named part: `<modality>.encoder`, `<modality>.adapter`,
    `<modality>.head`, `fusion`; of a key `<modality>.adapter.<key>` and `<modality>.head.<key>`.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
        fusion: Fusion,
        routes: Mapping[str, Mapping[str, nn.Module]] | None = None,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(dict(encoders))
        self.heads = nn.ModuleDict(dict(heads))
        self.fusion = fusion
        self.routes = nn.ModuleDict()
        self._route: str | None = None
        for key, own in (routes or {}).items():
            self.routes._modules[key] = nn.ModuleDict(dict(own))  # a key may be a name that ModuleDict uses
            self.route(key)

    @property
    def routed(self) -> str | None:
        """The key whose adapters and heads answer; None: the base."""
        return self._route

    def route(self, key: str | None) -> None:
        """Makes the adapters and heads of `key` answer, None: the base alone. `KeyError` for an unknown key."""
        if key is not None and key not in self.routes:
            raise KeyError(f"The classifier has no key {key!r}; it has {', '.join(self.routes) or 'none'}.")
        for encoder in self.encoders.values():
            Bank(encoder).activate(key)
        self._route = key

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
        return encode_batch(self.encoders, batch, known)

    def decide(
        self, features: Mapping[str, Float[Tensor, "batch _"]], present: Mapping[str, Bool[Tensor, " batch"] | None]
    ) -> tuple[Float[Tensor, "batch classes"], dict[str, Float[Tensor, "batch classes"]]]:
        """(fused logits, logits per modality) of features already encoded, in float32.

        The logits per modality are the fusion's split; where there are heads that the fusion does not need, theirs.
        """
        heads = self.heads if self._route is None else self.routes[self._route]
        head_logits = {name: head(features[name]).float() for name, head in heads.named_children()}
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
        return parts_of(self)
