"""What the second stage of a curriculum does so that the first one's pairs stay together while a modality is added."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from awase.config.base import Frozen
from awase.config.parts import AdapterConfig


class FreezePolicy(Frozen):
    """The towers of the first stage stand still: encoder, head and reconstruction."""

    name: Literal["freeze"] = "freeze"


class FeatureDistillation(Frozen):
    """Every embedding of an old modality stays near what the old model gives (learning without forgetting)."""

    name: Literal["feature_distillation"] = "feature_distillation"
    weight: float = Field(10.0, gt=0)
    measure: Literal["cosine", "squared"] | None = None
    """1 - cos, or the mean squared difference; None: what the space is scored with, cosine or (raw dots) squared."""


class SimilarityDistillation(Frozen):
    """The similarities of every old pair within a batch stay near those of the old model."""

    name: Literal["similarity_distillation"] = "similarity_distillation"
    weight: float = Field(2.0, gt=0)
    softening: float = Field(1.0, gt=0)
    """T: cosines are divided by T times the temperature, and the loss has T squared before it."""
    temperature: float | None = Field(None, gt=0)
    """None: that of the space, which its loss must then have."""


class CkcPolicy(Frozen):
    """Contrastive knowledge consolidation: projected embeddings find their own old ones among all others."""

    name: Literal["ckc"] = "ckc"
    weight: float = Field(2.0, gt=0)
    temperature: float | None = Field(None, gt=0)
    """None: that of the space, which its loss must then have."""


class ReplayPolicy(Frozen):
    """The old pairs' losses on a reservoir: a share of the training samples, drawn once by the seed."""

    name: Literal["replay"] = "replay"
    share: float = Field(0.05, gt=0, le=1)
    """Of the samples that have two of the old modalities or more."""
    rows: int | None = Field(None, ge=2)
    """Of the reservoir beside every batch; None: as many as a batch has, or all where it has fewer."""
    weight: float = Field(1.0, gt=0)


class EwcPolicy(Frozen):
    """Elastic weight consolidation: parameters that mattered to the old pairs' losses move little."""

    name: Literal["ewc"] = "ewc"
    weight: float = Field(10_000.0, gt=0)
    samples: int = Field(256, ge=1)
    """How many training samples the Fisher information is the mean of: a backward pass each."""


class DnsPolicy(Frozen):
    """Updates of the old heads that change no score of old pairs; the old encoders stand still, heads are linear."""

    name: Literal["dns"] = "dns"
    threshold: float = Field(0.01, gt=0, lt=1)
    """Directions with less than this share of the largest eigenvalue are free."""


class LowRankPolicy(Frozen):
    """The old towers learn through low-rank adapters alone, which are then merged into their weights."""

    name: Literal["low_rank"] = "low_rank"
    rank: int = Field(8, ge=1)
    alpha: float | None = Field(None, gt=0)
    """None: alpha equals the rank, a scale of 1."""
    targets: str | tuple[str, ...] = "default"
    """In the old encoders; of the heads all linear layers are adapted."""
    directions: Literal["random", "inflora", "keeplora", "osrm"] = "random"
    """What A begins with. `random`: A and B both learn; else A is computed from the old model and stands still."""
    energy: float = Field(0.95, gt=0, le=1)
    """The share of the old features' (and of keeplora's weights') energy that is left alone."""
    weight: float = Field(0.0, ge=0, exclude_if=lambda value: value == 0)
    """Strength of O-LoRA's penalty on what A reads of the directions along which the earlier stages learned."""

    @property
    def adapter(self) -> AdapterConfig:
        """The adapters through which an old tower learns."""
        return AdapterConfig(targets=self.targets, rank=self.rank, alpha=self.alpha)

    @model_validator(mode="after")
    def _check(self) -> "LowRankPolicy":
        if self.weight and self.directions != "random":
            raise ValueError(
                f"A penalty on A is for an A that learns, and with directions={self.directions!r} it stands still; "
                "set directions='random' or weight=0."
            )
        return self


class BankPolicy(Frozen):
    """The old towers stand still; every pair with a new modality has adapters of its own over all its towers."""

    name: Literal["bank"] = "bank"
    whole: bool = False
    """Whether all modalities together have adapters too."""
    after: bool = False
    """The adapters learn in a stage of their own after the new tower, each with half of the second stage's epochs."""
    combination: dict[str, JsonValue] = {}
    """Fields of `config.CombinationsConfig`; `keys` default to the new pairs."""


StepPolicy = Annotated[
    FeatureDistillation | SimilarityDistillation | CkcPolicy | ReplayPolicy | EwcPolicy | DnsPolicy | LowRankPolicy,
    Field(discriminator="name"),
]
"""What changes a step of the second stage, beside which parts of the model learn."""

Policy = Annotated[
    FreezePolicy
    | BankPolicy
    | FeatureDistillation
    | SimilarityDistillation
    | CkcPolicy
    | ReplayPolicy
    | EwcPolicy
    | DnsPolicy
    | LowRankPolicy,
    Field(discriminator="name"),
]

ALONE = ("freeze", "bank", "low_rank", "dns")
"""At most one of them: each says which parameters of the old towers learn."""
STILL = ("freeze", "bank")
"""With them the old towers give what they gave, so that nothing is left to keep."""


class KeptConfig(Frozen):
    """What a stage does for the pairs that the stages it starts from drew together."""

    pairs: dict[str, Annotated[float, Field(ge=0)]] = Field(min_length=1)
    """`audio+video` -> weight of its loss in replay and in the Fisher information."""
    policies: tuple[StepPolicy, ...] = Field(min_length=1)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The old modalities, sorted."""
        return tuple(sorted({name for pair in self.pairs for name in pair.split("+")}))

    @property
    def names(self) -> tuple[str, ...]:
        """What its policies are called."""
        return tuple(policy.name for policy in self.policies)

    @model_validator(mode="after")
    def _check(self) -> "KeptConfig":
        check_together(self.names)
        return self


def check_together(names: tuple[str, ...]) -> None:
    """Raises `ValueError` for policies that cannot be combined."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"A policy is named once; {', '.join(twice)} is there twice.")
    choices = [name for name in names if name in ALONE]
    if len(choices) > 1:
        raise ValueError(
            f"{' and '.join(choices)} both say which parameters of the old towers learn; name one of them."
        )
    still = [name for name in names if name in STILL]
    others = [name for name in names if name not in STILL]
    if still and others:
        raise ValueError(
            f"With {still[0]} the old towers stand still, and {', '.join(others)} would keep what cannot change; "
            f"leave out one or the other."
        )
