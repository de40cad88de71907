"""A joint space: how each modality comes into it, what draws pairs together, and what begins anew with a stage."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from awase.config.base import Frozen
from awase.config.combinations import CombinationsConfig
from awase.config.policies import STILL, KeptConfig, Policy, check_together
from awase.config.targets import TargetsConfig

Loss = Literal["mms", "info_nce", "normalised_softmax", "sigmoid", "max_margin", "mil_nce", "transport"]
TEMPERATURES = {"info_nce": 0.07, "normalised_softmax": 0.05, "sigmoid": 0.1, "transport": 0.07}
"""The losses that have a temperature, and what it is unless another is set."""
SOFTMAX = ("info_nce", "normalised_softmax", "transport")
"""Those of a softmax of cosines over the temperature."""
Begin = Literal["queue", "centroids", "temperature", "batch_statistics"]


class SpaceConfig(Frozen):
    """The joint space, and the way of each modality from its encoder's features into it."""

    dim: int = Field(256, ge=1)
    projection: str = "gated"
    projections: dict[str, str] = {}
    """Per modality; one that is not named has `projection`."""
    reconstruction: int | None = Field(None, ge=1)
    """Hidden width of the heads that rebuild each modality's features from its embedding; None: no such heads."""
    rectify: bool = False
    """Whether those heads end in a ReLU, as in MCN, whose features are all 0 or more."""

    def projection_of(self, modality: str) -> str:
        """The name of the projection of one modality."""
        return self.projections.get(modality, self.projection)


class ClusteringConfig(Frozen):
    """Online clustering of the fused features, and the contrast of each modality with its cluster's centroid.

    With a loss of cosines the vectors are of unit length here too, and their products are divided by the temperature.
    """

    num_clusters: int = Field(256, ge=2)
    queue_rows: int = Field(40_960, ge=1)
    """Fused features of earlier steps that are clustered with those of the step."""
    push_rows: int | None = Field(None, ge=1)
    """Of each group of `push_every` consecutive rows the first so many go into the queue; None: all."""
    push_every: int = Field(1, ge=1)
    refit_every: int = Field(20, ge=1)
    """Steps between two fits of the centroids; the steps between assign only."""
    reset_each_epoch: bool = False
    """Whether the centroids of an epoch's first fit begin anew, as in the original; else from the last ones."""
    assignment: Literal["kmeans", "sinkhorn"] = "kmeans"
    margin: float = Field(0.001, ge=0)
    weight: float = Field(1.0, ge=0)
    of: Literal["modalities", "fused"] = "modalities"
    """What is drawn to the centroid: each modality, or their mean."""


class ReconstructionConfig(Frozen):
    """Rebuilding each modality's features from its embedding (`SpaceConfig.reconstruction`)."""

    weight: float = Field(50.0, ge=0)
    detach: bool = True
    """Whether the targets stand still. The original lets their gradient through, so that they may shrink."""


class RetrievalConfig(Frozen):
    """What a stage learns in a joint space. Each term covers the modalities that it names, or all of the stage's."""

    space: SpaceConfig = SpaceConfig()
    loss: Loss = "mms"
    """`mil_nce` (raw dot products): pairs with a modality that has several candidates per sample
    (`data.howto100m.candidates`); the others have `mms`."""
    margin: float | None = Field(None, ge=0)
    """Of `mms` (with `mil_nce`: of the pairs that have it) and `max_margin`; None: the loss's own, 0.001 and 0.1."""
    temperature: float | None = Field(None, gt=0)
    """What cosines are divided by; where it is learned, at the start. None: the loss's own, 0.07 for `info_nce` and
    `transport`, 0.05 for `normalised_softmax`, 0.1 for `sigmoid`."""
    bias: float = -10.0
    """Added to the scores of `sigmoid`; learned together with its temperature."""
    learn_temperature: bool = False
    targets: TargetsConfig | None = Field(None, exclude_if=lambda value: value is None)
    """Of `info_nce`: instead of the known pairs alone. Left out of what is written where there are none, so that a
    configuration from before there were any has the same address."""
    pairs: dict[str, Annotated[float, Field(ge=0)]] = {}
    """`audio+text` -> weight of its loss; empty: every pair of the stage's modalities with weight 1."""
    combinations: CombinationsConfig | None = None
    """Adapters of combinations of modalities, over this space."""
    kept: KeptConfig | None = None
    """What keeps the pairs of the stages it starts from; `mcn` writes it from `Curriculum.policy`."""
    shuffle_pairs: bool = False
    """A control: every sample is drawn to the next one of its batch instead of to itself; clips of a store, to the one
    in their place of the next video. The last batch of an epoch may have one video alone, and then no pair."""
    clustering: ClusteringConfig | None = None
    clustered: tuple[str, ...] = ()
    """Modalities of the fused feature and of the contrast with its centroid; empty: all of the stage."""
    reconstruction: ReconstructionConfig = ReconstructionConfig()
    reconstructed: tuple[str, ...] = ()
    """Modalities that are rebuilt, where the space has heads for it; empty: all of the stage."""
    begin: tuple[Begin, ...] = ()
    """What begins anew with this stage instead of going on from the stages it starts from. The optimiser always does;
    the learning rate does unless `training.schedule_from` says else."""

    @model_validator(mode="after")
    def _check(self) -> "RetrievalConfig":
        has = self.loss in TEMPERATURES
        sets = [] if self.combinations is None else [key for key in self.combinations.learned if key.count("+") > 1]
        if sets and self.loss == "mil_nce":
            raise ValueError(
                f"mil_nce compares two modalities, and the combination {sets[0]} has more; let only pairs learn, by "
                "`keys` of pair_adapters, or use mms or info_nce."
            )
        if self.combinations is not None and self.combinations.temperatures and self.loss not in SOFTMAX:
            raise ValueError(f"The loss {self.loss!r} of a combination has no temperature of its own; use info_nce.")
        if self.combinations is not None and self.combinations.tether and self.loss not in SOFTMAX:
            raise ValueError("A tether is of softmaxes at the temperature of the space; use the loss info_nce.")
        of_set = None if self.combinations is None else self.combinations.of_set
        if of_set in ("triangle", "volume") and self.loss not in SOFTMAX:
            raise ValueError(f"of_set={of_set!r} is a softmax at the temperature of the space; use the loss info_nce.")
        if self.kept is not None and "dns" in self.kept.names:
            other = [name for name in self.kept.modalities if self.space.projection_of(name) != "linear"]
            if other:
                raise ValueError(
                    f"The policy dns is for linear heads on encoders that stand still; {', '.join(other)} would have "
                    f"another: set space.projection='linear'."
                )
        for policy in () if self.kept is None or has else self.kept.policies:
            if policy.name in ("similarity_distillation", "ckc") and policy.temperature is None:
                raise ValueError(
                    f"The loss {self.loss!r} has no temperature for {policy.name}; give the policy one of its own, for "
                    "example temperature=0.07."
                )
        if self.learn_temperature and not has:
            raise ValueError(f"The loss {self.loss!r} has no temperature to learn; set learn_temperature=false.")
        if self.temperature is not None and not has:
            raise ValueError(f"The loss {self.loss!r} has no temperature; leave it out, or use info_nce.")
        if self.margin is not None and self.loss not in ("mms", "max_margin", "mil_nce"):
            raise ValueError(f"The loss {self.loss!r} has no margin; leave it out, or use mms or max_margin.")
        if self.targets is not None and self.loss != "info_nce":
            raise ValueError(
                f"The loss {self.loss!r} takes no targets; leave them out, or use info_nce, which is half of "
                "normalised_softmax."
            )
        spanned = [] if of_set in (None, "one_versus_fused") or self.targets is None else self.targets.pairs
        if any(name.count("+") > 1 for name in spanned):
            raise ValueError(f"What of_set={of_set!r} measures takes no targets; let targets.pairs name pairs alone.")
        return self

    @property
    def first_temperature(self) -> float:
        """The temperature, or where it is learned its value at the start; 1 for a loss without one."""
        return TEMPERATURES.get(self.loss, 1.0) if self.temperature is None else self.temperature


class Curriculum(Frozen):
    """Two stages instead of one: some modalities first, then all.

    The optimiser always begins anew with the second stage; what else does is `schedule` and `begin`.
    """

    first: tuple[str, ...] = Field(min_length=2)
    """The modalities of the first stage."""
    second: Literal["strict", "relaxed"] = "strict"
    """Which pairs the second stage draws together: those with a new modality, or all."""
    terms: Literal["all", "new"] = "all"
    """Which modalities its clustering and reconstruction cover."""
    policy: tuple[Policy, ...] = ()
    """What the second stage does for the first one's pairs; nothing: naive. `freeze=true` is read as the policy."""
    share: float = Field(0.5, gt=0, lt=1)
    """Of the epochs, for the first stage: both together take as many steps as one joint stage."""
    schedule: Literal["restart", "continue"] = "restart"
    """Whether the learning rate rises to its full height again, or goes on down from where it was."""
    begin: tuple[Begin, ...] = ()
    """What the second stage forgets."""
    shuffle_first: bool = False
    """A control: the first stage draws each sample to another one."""

    @model_validator(mode="before")
    @classmethod
    def _freeze_is_a_policy(cls, value: Any) -> Any:
        """Configurations of earlier versions have `freeze` instead."""
        if not isinstance(value, dict) or "freeze" not in value:
            return value
        rest = {name: one for name, one in value.items() if name != "freeze"}
        policy = [{"name": "freeze"}] if value["freeze"] else []
        return {**rest, "policy": [*policy, *rest.get("policy", ())]}

    @model_validator(mode="after")
    def _check(self) -> "Curriculum":
        check_together(self.policies)
        if self.second == "relaxed" and "replay" in self.policies:
            raise ValueError("A relaxed second stage has the old pairs' losses on all samples; leave out replay.")
        if self.second == "relaxed" and "bank" in self.policies:
            raise ValueError(
                "With a bank the old towers stand still and cannot be drawn together; use second='strict'."
            )
        return self

    @property
    def policies(self) -> tuple[str, ...]:
        """What its policies are called."""
        return tuple(policy.name for policy in self.policy)

    @property
    def stands_still(self) -> bool:
        """Whether the towers of the first stage do not change in the second."""
        return any(name in STILL for name in self.policies)
