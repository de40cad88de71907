"""Several encoders, one space: each modality's features projected to where they can be compared."""

from collections.abc import Collection, Mapping, Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from awase.adapters import Bank
from awase.encoders.blocks import BlockEncoder
from awase.fusion.rows import presence_of
from awase.models.encode import encode_batch, encode_candidates, first_candidate, first_rows
from awase.models.keyed import Execution, cut_below_adapters, encode_keys, project_keys
from awase.models.parts import parts_of
from awase.types import Batch, Below, Encoded, RetrievalOutput, map_inputs


class Retrieval(nn.Module):
    """Encoders and projections per modality, heads that rebuild the features, and what the objective remembers.

    `combinations` are those that have adapters of their own (`audio+text`), in the encoders, the projections or both;
    `apart`: their losses reach these alone, not the shared space.
    `routes` are keys of which one at a time acts in all encoders and projections that have adapters of it: `route`
    chooses it; None: none of them. The last one acts at first.
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
        routes: Sequence[str] = (),
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

        self.routes = tuple(routes)
        self._route: str | None = None
        if self.routes:
            self.route(self.routes[-1])

    @property
    def routed(self) -> str | None:
        """The key of `routes` that acts; None: none of them."""
        return self._route

    def route(self, key: str | None) -> None:
        """Makes the adapters of `key` act, None: those of none. `KeyError` for an unknown key."""
        if key is not None and key not in self.routes:
            raise KeyError(f"The space has no key {key!r}; it has {', '.join(self.routes) or 'none'}.")
        for module in (*self.encoders.values(), *self.projections.values()):
            bank = Bank(module)
            if self.routes and bank.keys():
                bank.activate(key)
        self._route = key

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

    def forward(
        self, batch: Batch, *, known: Mapping[str, Encoded | Below] | None = None, keys: Collection[str] | None = None
    ) -> RetrievalOutput:
        """The embeddings of a batch, and the features rebuilt from them where there are heads for it.

        `known` are features that need not be computed, or what lies below the adapters of an encoder; `keys` the
        combinations that are wanted (None: all). Of a modality with several candidates per sample every one is encoded
        and projected, under every key too; embedding, features and what is rebuilt are of the first real one.
        """
        several = {name: mask for name, mask in batch.candidates.items() if name in self.encoders}
        below = {name: value for name, value in (known or {}).items() if isinstance(value, Below)}
        done = {name: value for name, value in (known or {}).items() if isinstance(value, Encoded)}
        done |= {name: value.shared for name, value in below.items()}
        wanted = tuple(key for key in self.combinations if keys is None or key in keys)
        keyed = self._features(batch, several, below, wanted)
        alone = {name: shared for name, (shared, _) in keyed.items()}
        every = {
            name: alone[name] if name in alone else encode_candidates(self.encoders[name], batch.inputs[name], mask)
            for name, mask in several.items()
        }
        firsts = {name: first_candidate(every[name], several[name]) for name in several}
        encoded = encode_batch(self.encoders, batch, {**done, **alone, **firsts})
        rows = self.embed(every)  # (batch * candidates, dim)
        single = self.embed({name: value for name, value in encoded.items() if name not in several})
        embeddings = {
            name: rows[name].index_select(0, first_rows(several[name])) if name in several else single[name]
            for name in encoded
        }
        rebuilt = {name: head(embeddings[name]).float() for name, head in self.reconstructions.items()}
        candidates = {name: rows[name].unflatten(0, mask.shape) for name, mask in several.items()}
        rows_of = {name: every[name] if name in several else encoded[name] for name in encoded}
        combined = self._combined(rows_of, {name: features for name, (_, features) in keyed.items()}, wanted)
        return RetrievalOutput(embeddings, encoded, rebuilt, candidates, *_divided(combined, several))

    def _block_encoder(self, name: str) -> BlockEncoder:
        encoder = self.encoders[name]
        assert isinstance(encoder, BlockEncoder), "the runner wraps every encoder"
        return encoder

    def _features(
        self,
        batch: Batch,
        several: Mapping[str, Bool[Tensor, "batch _"]],
        below: Mapping[str, Below],
        wanted: Sequence[str],
    ) -> dict[str, tuple[Encoded, Tensor]]:
        """Of every modality whose encoder has adapters of what is wanted: encoding and features (keys, rows, dim).

        A row is a sample, or a candidate where a sample has several.
        """
        found = {}
        for name in self.adapted:
            keys = keys_with(name, wanted)
            if keys and (name in batch.inputs or name in below) and len(batch):
                inputs, rows = below[name] if name in below else batch.inputs[name], presence_of(batch, name)
                if name in several:
                    inputs = map_inputs(batch.inputs[name], lambda value: value.flatten(0, 1))
                    rows = several[name].flatten()
                found[name] = encode_keys(
                    self._block_encoder(name),
                    inputs,
                    rows,
                    keys,
                    execution=self.execution,
                    apart=self.apart,
                )
        return found

    def _combined(
        self,
        encoded: Mapping[str, Encoded],
        features: Mapping[str, Float[Tensor, "keys rows dim"]],
        wanted: Sequence[str],
    ) -> dict[str, dict[str, Tensor]]:
        """Combination -> modality -> embedding; the shared features go into a projection where no others are."""
        combined: dict[str, dict[str, Tensor]] = {key: {} for key in wanted}
        for name in self.modalities:
            keys = keys_with(name, wanted)
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


Keyed = dict[str, dict[str, Tensor]]


def _divided(combined: Keyed, several: Mapping[str, Bool[Tensor, "batch _"]]) -> tuple[Keyed, Keyed]:
    """(an embedding of every sample, those of all candidates where there are several), from a row per candidate."""
    firsts = {
        key: {
            name: rows.index_select(0, first_rows(several[name])) if name in several else rows
            for name, rows in values.items()
        }
        for key, values in combined.items()
    }
    every = {
        key: {name: rows.unflatten(0, several[name].shape) for name, rows in values.items() if name in several}
        for key, values in combined.items()
    }
    return firsts, every


def keys_with(name: str, keys: Sequence[str]) -> tuple[str, ...]:
    """The combinations in which a modality takes part."""
    return tuple(key for key in keys if name in key.split("+"))
