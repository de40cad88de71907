"""How the modalities' features become one decision."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from awase.fusion.base import Fusion
from awase.fusion.bottleneck import Bottleneck
from awase.fusion.conditioned import Film, Gated
from awase.fusion.late import Concat, LateMean, Mlp, Sum
from awase.fusion.mmbt import Mmbt
from awase.fusion.prompts import Prompts
from awase.fusion.shared import SharedHead

FUSIONS: dict[str, type[Fusion]] = {
    "late_mean": LateMean,
    "concat": Concat,
    "sum": Sum,
    "mlp": Mlp,
    "film": Film,
    "gated": Gated,
    "bottleneck": Bottleneck,
    "mmbt": Mmbt,
    "prompts": Prompts,
    "shared_head": SharedHead,
}


def build_fusion(
    name: str,
    dims: Mapping[str, int],
    num_classes: int,
    options: Mapping[str, Any],
    multi_label: bool = False,
    encoders: Mapping[str, nn.Module] | None = None,
) -> Fusion:
    """The fusion called `name` for modalities of the given feature sizes.

    `encoders` are shown to a fusion that mixes, and only to such a one. Raises `ValueError` for an unknown name or
    option, listing the valid ones, and what the fusion raises for encoders that it cannot mix.
    """
    if name not in FUSIONS:
        raise ValueError(f"There is no fusion {name!r}; valid names: {', '.join(sorted(FUSIONS))}.")
    kind = FUSIONS[name]
    unknown = sorted(set(options) - set(kind.options))
    if unknown:
        valid = ", ".join(kind.options) or "none"
        raise ValueError(f"The fusion {name!r} has no option {', '.join(unknown)}; valid options: {valid}.")
    if not kind.mixes:
        return kind(dict(dims), num_classes, multi_label, **options)
    if encoders is None:
        raise ValueError(f"The fusion {name!r} runs inside the encoders and is built with them: pass encoders=...")
    return kind(dict(dims), num_classes, multi_label, encoders=encoders, **options)  # type: ignore[call-arg]


def needs_heads(name: str) -> bool:
    """Whether the fusion works on the logits of one head per modality (true also for names that do not exist)."""
    return FUSIONS[name].needs_heads if name in FUSIONS else True


__all__ = [
    "FUSIONS",
    "Bottleneck",
    "Concat",
    "Film",
    "Fusion",
    "Gated",
    "LateMean",
    "Mlp",
    "Mmbt",
    "Prompts",
    "SharedHead",
    "Sum",
    "build_fusion",
    "needs_heads",
]
