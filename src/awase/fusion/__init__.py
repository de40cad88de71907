"""How the modalities' features become one decision."""

from collections.abc import Mapping
from typing import Any

from awase.fusion.base import Fusion
from awase.fusion.late import Concat, LateMean, Mlp, Sum
from awase.fusion.shared import SharedHead

FUSIONS: dict[str, type[Fusion]] = {
    "late_mean": LateMean,
    "concat": Concat,
    "sum": Sum,
    "mlp": Mlp,
    "shared_head": SharedHead,
}


def build_fusion(
    name: str, dims: Mapping[str, int], num_classes: int, options: Mapping[str, Any], multi_label: bool = False
) -> Fusion:
    """The fusion called `name` for modalities of the given feature sizes.

    Raises `ValueError` for an unknown name or option, listing the valid ones.
    """
    if name not in FUSIONS:
        raise ValueError(f"There is no fusion {name!r}; valid names: {', '.join(sorted(FUSIONS))}.")
    kind = FUSIONS[name]
    unknown = sorted(set(options) - set(kind.options))
    if unknown:
        valid = ", ".join(kind.options) or "none"
        raise ValueError(f"The fusion {name!r} has no option {', '.join(unknown)}; valid options: {valid}.")
    return kind(dict(dims), num_classes, multi_label, **options)


def needs_heads(name: str) -> bool:
    """Whether the fusion works on the logits of one head per modality (true also for names that do not exist)."""
    return FUSIONS[name].needs_heads if name in FUSIONS else True


__all__ = ["FUSIONS", "Concat", "Fusion", "LateMean", "Mlp", "SharedHead", "Sum", "build_fusion", "needs_heads"]
