"""Joint training in which the gradients of the stronger modality's encoder are damped (OGM-GE)."""

from typing import Literal

from awase.config import FusionConfig, Node
from awase.methods.balanced_stage import SplitFusion, balanced_stage
from awase.methods.context import Changes, MethodContext


def ogm_ge(
    context: MethodContext,
    fusion: SplitFusion = "concat",
    alpha: float = 0.8,
    noise: bool = True,
    scope: Literal["auto", "conv", "all_weights"] = "auto",
    several: Literal["min", "mean"] = "min",
    start_epoch: int = 0,
    end_epoch: int = 50,
    training: Changes | None = None,
) -> list[Node]:
    """Joint training; in the epochs start_epoch to end_epoch encoder m's gradient is multiplied by k_m, with noise.

    k_m = 1 - tanh(alpha rho_m) where rho_m > 1, else 1; rho_m is how much more probability modality m's own logits give
    the targets than the other's do. `noise=False` is OGM. Defaults as published (alpha for CREMA-D; VGGSound 0.1),
    except `scope="auto"`, which reaches the linear weights of encoders that are no convolutional network.
    Source: Peng et al., CVPR 2022.
    """
    options = {
        "alpha": alpha,
        "noise": noise,
        "scope": scope,
        "several": several,
        "start_epoch": start_epoch,
        "end_epoch": end_epoch,
    }
    return [balanced_stage(context, FusionConfig(name=fusion), "ogm_ge", options, training)]
