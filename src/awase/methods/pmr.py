"""Joint training in which the weaker modality is drawn to prototypes of the classes (PMR)."""

from typing import Literal

from awase.config import FusionConfig, Node
from awase.methods.balanced_stage import balanced_stage
from awase.methods.context import Changes, MethodContext


def pmr(
    context: MethodContext,
    fusion: Literal["concat", "sum", "mlp"] = "concat",
    alpha: float = 1.0,
    momentum: float = 0.2,
    start_epoch: int = 0,
    end_epoch: int = 100,
    soft: bool = False,
    entropy_weight: float = 0.1,
    entropy_epochs: int = 5,
    training: Changes | None = None,
) -> list[Node]:
    """Joint training; CE(z, y) + alpha CE(-||h_m - c_m||, y) for the modality m whose prototypes c_m tell less.

    A hard choice as in the released code, or with `soft` a weight by how far m is behind, and in the first
    `entropy_epochs` an entropy term (these two numbers are ours; the others are the published defaults). Prototypes are
    the mean features of an epoch of training, so the first epoch is plain training. Source: Fan et al., CVPR 2023.
    """
    options = {
        "alpha": alpha,
        "momentum": momentum,
        "start_epoch": start_epoch,
        "end_epoch": end_epoch,
        "soft": soft,
        "entropy_weight": entropy_weight,
        "entropy_epochs": entropy_epochs,
    }
    return [balanced_stage(context, FusionConfig(name=fusion), "pmr", options, training)]
