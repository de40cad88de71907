"""What a contrastive loss is drawn towards beside the known pairs."""

from typing import Literal

from pydantic import Field, model_validator

from awase.config.base import Frozen


class TargetsConfig(Frozen):
    """Targets of `info_nce` from a transport plan of the batch's own scores, in training; validation has none.

    They hold from the first step: the source has no warm-up.
    """

    kind: Literal["soft", "partial"] = "soft"
    """soft: every sample has as much of the plan (`objectives.soft_targets`); partial: what fits nothing has little
    (`objectives.partial_targets`)."""
    beta: float = Field(0.3, ge=0, le=1)
    """Share of the plan in the targets; 0 with `soft` is the loss without targets."""
    epsilon: float | None = Field(None, gt=0)
    """Of the plan, in the units of cosines divided by the temperature; None: 1 for `soft`, 0.1 / temperature for
    `partial`."""
    iterations: int = Field(50, ge=1)
    quantile: float | None = Field(None, ge=0, le=1)
    """Of the known pairs' scores, at which a row or column of `partial` is rather left without a partner; None: 0.3."""
    pairs: tuple[str, ...] = ()
    """`audio+text`, names sorted: the pairs, and the combinations of that name, that have them; empty: all."""

    @model_validator(mode="after")
    def _check(self) -> "TargetsConfig":
        if self.quantile is not None and self.kind != "partial":
            raise ValueError("Soft targets have no bucket, and so no quantile; leave it out, or say kind='partial'.")
        for name in self.pairs:
            names = name.split("+")
            if len(set(names)) < 2 or names != sorted(names):
                raise ValueError(f"Targets are of pairs or combinations, sorted, like 'audio+text'; given: {name!r}.")
        return self
