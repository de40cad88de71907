"""The modalities take turns in training a shared head (MLA)."""

from typing import Literal

from awase.config import FusionConfig, Node
from awase.methods.balanced_stage import balanced_stage
from awase.methods.context import Changes, MethodContext


def mla(
    context: MethodContext,
    combine: Literal["entropy", "mean"] | None = None,
    project: bool = True,
    training: Changes | None = None,
) -> list[Node]:
    """One stage; every step trains each modality in turn on CE(W h_m + b, y), its encoder and the shared head.

    The head's gradient is projected away from features seen before (`project`); the decision is the mean of the
    logits weighted by certainty, exp(-entropy), or the plain mean (`combine`; by default entropy, and the mean for
    several labels per sample). All encoders must have features of one size. Source: Zhang et al., CVPR 2024.
    """
    fusion = FusionConfig(name="shared_head", options={} if combine is None else {"combine": combine})
    return [balanced_stage(context, fusion, "mla", {"project": project}, training)]
