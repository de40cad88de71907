"""Several encoders, one space: each modality's features projected to where they can be compared."""

from collections.abc import Collection, Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from awase.adapters import Bank
from awase.encoders.blocks import BlockEncoder
from awase.fusion.rows import presence_of
from awase.models.encode import encode_batch, encode_candidates, first_candidate, first_rows
from awase.models.keyed import Execution, cut_below_adapters, encode_keys, project_keys
from awase.models.parts import parts_of
from awase.types import Batch, Encoded, RetrievalOutput


class Retrieval(nn.Module):
    """Encoders and projections per modality, heads that rebuild the features, and what the objective remembers.

    `combinations` are those that have adapters of their own (`audio+text`), in the encoders, the projections or both;
    `apart`: their losses reach these alone, not the shared space.
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
        combinations: Sequence[str] = (),
        *,
        execution: Execution = "batched",
        apart: bool = False,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(dict(encoders))
        self.projections = nn.ModuleDict(dict(projections))
        self.reconstructions = nn.ModuleDict(dict(reconstructions))
        self.objective = objective
        self.combinations = tuple(combinations)
        self.execution: Execution = execution
        self.apart = apart
        self.adapted = tuple(
            name for name in self.encoders if set(self.combinations) & set(Bank(self.encoders[name]).keys())
        )
        """The modalities whose encoder has adapters of combinations: it must see their inputs."""
        for name in self.adapted:
            cut_below_adapters(self._block_encoder(name))

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
        keyed = self._features(batch, several)
        alone = {name: shared for name, (shared, _) in keyed.items()}
        encoded = encode_batch(self.encoders, batch, {**(known or {}), **firsts, **alone})
        rows = self.embed(every)  # (batch * candidates, dim)
        single = self.embed({name: value for name, value in encoded.items() if name not in several})
        embeddings = {
            name: rows[name].index_select(0, first_rows(several[name])) if name in several else single[name]
            for name in encoded
        }
        rebuilt = {name: head(embeddings[name]).float() for name, head in self.reconstructions.items()}
        candidates = {name: rows[name].unflatten(0, mask.shape) for name, mask in several.items()}
        combined = self._combined(encoded, {name: features for name, (_, features) in keyed.items()})
        return RetrievalOutput(embeddings, encoded, rebuilt, candidates, combined)

    def _block_encoder(self, name: str) -> BlockEncoder:
        encoder = self.encoders[name]
        assert isinstance(encoder, BlockEncoder), "the runner wraps every encoder"
        return encoder

    def _keys(self, name: str) -> tuple[str, ...]:
        """The combinations in which a modality takes part."""
        return tuple(key for key in self.combinations if name in key.split("+"))

    def _features(self, batch: Batch, several: Collection[str]) -> dict[str, tuple[Encoded, Tensor]]:
        """Of every modality whose encoder has adapters: its encoding, and its features (keys, batch, dim)."""
        found = {}
        for name in self.adapted:
            if name in several:
                raise ValueError(f"{name!r} has several inputs per sample, which adapters in its encoder cannot take.")
            if name in batch.inputs and len(batch):
                rows = presence_of(batch, name)
                found[name] = encode_keys(
                    self._block_encoder(name),
                    batch.inputs[name],
                    rows,
                    self._keys(name),
                    execution=self.execution,
                    apart=self.apart,
                )
        return found

    def _combined(
        self, encoded: Mapping[str, Encoded], features: Mapping[str, Float[Tensor, "keys batch dim"]]
    ) -> dict[str, dict[str, Tensor]]:
        """Combination -> modality -> embedding; the shared features go into a projection where no others are."""
        combined: dict[str, dict[str, Tensor]] = {key: {} for key in self.combinations}
        for name in self.modalities:
            keys = self._keys(name)
            if not keys:
                continue
            pooled = encoded[name].pooled.detach() if self.apart else encoded[name].pooled
            rows = features.get(name, pooled)
            projected = project_keys(self.projections[name], rows, keys, execution=self.execution, apart=self.apart)
            for key, values in zip(keys, projected, strict=True):
                combined[key][name] = values.float()
        return combined

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Part name -> state name -> tensor, covering every entry of the state dictionary exactly once."""
        return parts_of(self)
