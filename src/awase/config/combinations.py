"""An adapter for every combination of modalities over one joint space."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from awase.config.base import Frozen
from awase.config.parts import AdapterConfig


class CombinationsConfig(Frozen):
    """Which combinations have adapters, where these sit, and what draws each combination's modalities together.

    Every combination has the loss of the space between its two modalities, or, of three and more, what `of_set` says;
    its gradient reaches its own adapters and no other's.
    """

    keys: tuple[str, ...] = Field(min_length=1)
    """`audio+text`, names sorted; the model has an adapter for each."""
    learn: tuple[str, ...] = ()
    """The keys whose losses are taken; empty: all. The others stand still, bit for bit."""
    place: Literal["head", "encoder", "both"] = "head"
    """head: all linear layers of the projection into the space; encoder: what `adapter` targets; or both."""
    adapter: AdapterConfig = AdapterConfig(rank=8)
    adapters: dict[str, AdapterConfig] = {}
    """Per modality; one that is not named has `adapter`."""
    ranks: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Per key, in all modalities; one that is not named has that of `adapter`. Merged keys and loaded ones need it."""
    weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Per key; one that is not named has 1."""
    temperatures: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Per key; one that is not named has the temperature of the space."""
    of_set: Literal["one_versus_fused", "triangle", "volume"] = "one_versus_fused"
    """What keys of three and more modalities have, each modality in turn against the others of a sample: the loss of
    the space with the mean of the others; the area of the triangle of exactly three; or the volume of all."""
    tether: float = Field(0, ge=0)
    """Weight of the divergence, per key of two modalities that learns, of its similarities from those of the space."""
    gradient: Literal["all", "adapters"] = "all"
    """Whether a combination's loss also reaches the shared parts where these learn, or adapters alone."""
    keys_per_step: int | None = Field(None, ge=1)
    """So many of the keys that learn, drawn for every step, are trained in it, with losses that weigh |S| / s; the
    others stand still. None: all in every step."""
    shuffle_keys: bool = Field(False, exclude_if=lambda value: not value)
    """A control: in every training step each modality's keys are exchanged at random, so that no adapter can become
    that of a combination. What is asked under a key is asked under its own adapters."""
    execution: Literal["batched", "loop", "cached"] = "batched"
    """All keys in one pass, or one after the other: the same numbers. cached: in one pass, and what lies below the
    adapters of an encoder that stands still is computed once per sample and kept in memory; of an encoder that learns,
    or whose input is drawn anew each epoch, as batched."""
    ensemble: float = Field(0.25, ge=0, le=1)
    """Weight of the shared space where an ensemble of it and a key is tried on validation, after the training."""

    @property
    def learned(self) -> tuple[str, ...]:
        """The keys whose losses are taken."""
        return self.learn or self.keys

    def adapter_of(self, modality: str, key: str) -> AdapterConfig:
        """The adapter of one modality under a key."""
        adapter = self.adapters.get(modality, self.adapter)
        return adapter.model_copy(update={"rank": self.ranks.get(key, adapter.rank)})

    @model_validator(mode="after")
    def _check(self) -> "CombinationsConfig":
        for key in self.keys:
            names = key.split("+")
            if len(set(names)) < 2 or names != sorted(names):
                raise ValueError(f"A combination is two or more modalities, sorted, like 'audio+text'; given: {key!r}.")
        for what in (self.learn, self.ranks, self.weights, self.temperatures):
            unknown = sorted(set(what) - set(self.keys))
            if unknown:
                raise ValueError(f"There is no combination {', '.join(unknown)}; there are {', '.join(self.keys)}.")
        sizes = {key: len(key.split("+")) for key in self.learned}
        if self.keys_per_step is not None and self.keys_per_step > len(self.learned):
            raise ValueError(
                f"There are {len(self.learned)} keys that learn, so that a step cannot have {self.keys_per_step}; use "
                f"1 to {len(self.learned)}, or leave keys_per_step out for all."
            )
        large = [key for key, size in sizes.items() if size > 3]
        if self.of_set == "triangle" and large:
            raise ValueError(f"A triangle has three modalities; given: {', '.join(large)}. Use of_set='volume'.")
        if self.of_set != "one_versus_fused" and max(sizes.values()) < 3:
            raise ValueError(
                f"No key that learns has three modalities, so nothing is for of_set={self.of_set!r}; leave it out."
            )
        if self.tether and min(sizes.values()) > 2:
            raise ValueError("A tether is of keys of two modalities, and none of those learns; leave it out.")
        return self
