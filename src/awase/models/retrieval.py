"""Several encoders, one space: each modality's features projected to where they can be compared."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from awase.models.encode import encode_batch, encode_candidates, first_candidate, first_rows
from awase.models.parts import parts_of
from awase.types import Batch, Encoded, RetrievalOutput


class Retrieval(nn.Module):
    """Encoders and projections per modality, heads that rebuild the features, and what the objective remembers.

    `reconstructions` may lack modalities, or be empty. `objective` holds the state of the objective (a queue,
    centroids, a temperature); it is not called. Parts: `<modality>.encoder`, `<modality>.adapter`, `<modality>.head`,
    `<modality>.reconstruction`, `objective`.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        projections: Mapping[str, nn.Module],
        reconstructions: Mapping[str, nn.Module],
        objective: nn.Module,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(dict(encoders))
        self.projections = nn.ModuleDict(dict(projections))
        self.reconstructions = nn.ModuleDict(dict(reconstructions))
        self.objective = objective

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in the order in which they were given."""
        return tuple(self.encoders)

    @property
    def mixes(self) -> bool:
        """Never: a modality's features do not depend on the other modalities."""
        return False

    def embed(self, encoded: Mapping[str, Encoded]) -> dict[str, Float[Tensor, "batch dim"]]:
        """The embeddings of features, float32, not normalised."""
        return {name: self.projections[name](value.pooled).float() for name, value in encoded.items()}

    def forward(self, batch: Batch, *, known: Mapping[str, Encoded] | None = None) -> RetrievalOutput:
        """The embeddings of a batch, and the features rebuilt from them where there are heads for it.

        `known` are features that need not be computed. Of a modality with several candidates per sample every one is
        encoded and projected; embedding, features and what is rebuilt are of the first real one.
        """
        several = {name: mask for name, mask in batch.candidates.items() if name in self.encoders}
        every = {name: encode_candidates(self.encoders[name], batch.inputs[name], several[name]) for name in several}
        firsts = {name: first_candidate(every[name], several[name]) for name in several}
        encoded = encode_batch(self.encoders, batch, {**(known or {}), **firsts})
        rows = self.embed(every)  # (batch * candidates, dim)
        single = self.embed({name: value for name, value in encoded.items() if name not in several})
        embeddings = {
            name: rows[name].index_select(0, first_rows(several[name])) if name in several else single[name]
            for name in encoded
        }
        rebuilt = {name: head(embeddings[name]).float() for name, head in self.reconstructions.items()}
        candidates = {name: rows[name].unflatten(0, mask.shape) for name, mask in several.items()}
        return RetrievalOutput(embeddings, encoded, rebuilt, candidates)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Part name -> state name -> tensor, covering every entry of the state dictionary exactly once."""
        return parts_of(self)
