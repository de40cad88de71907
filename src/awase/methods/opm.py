"""Joint training in which features of the stronger modality are dropped (OPM)."""

from awase.config import FusionConfig, Node
from awase.methods.balanced_stage import SplitFusion, balanced_stage
from awase.methods.context import Changes, MethodContext


def opm(
    context: MethodContext,
    fusion: SplitFusion = "concat",
    q_base: float = 0.5,
    lam: float = 0.5,
    p_exe: float = 0.7,
    start_epoch: int = 6,
    training: Changes | None = None,
) -> list[Node]:
    """Joint training; from start_epoch on the stronger modality's features of a sample are dropped with chance q_m.

    q_m = min(q_base (1 + lam tanh(s_m / s_other - 1)), 1) for the modality that is ahead, in a share `p_exe` of the
    steps. Defaults as in the released code; the scores s are those of the step before. Source: Wei et al., TPAMI 2024.
    """
    options = {"q_base": q_base, "lam": lam, "p_exe": p_exe, "start_epoch": start_epoch}
    return [balanced_stage(context, FusionConfig(name=fusion), "opm", options, training)]
