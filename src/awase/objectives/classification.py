"""Cross-entropy for one label, binary cross-entropy for several, of the fused and of each modality's logits."""

from collections.abc import Callable, Mapping

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

SampleLoss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(
    logits: Float[Tensor, "batch classes"],
    targets: Int[Tensor, " batch"] | Float[Tensor, "batch classes"],
    *,
    class_weights: Float[Tensor, " classes"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, " batch"]:
    """-sum_k q_k log softmax(z)_k per sample, in float32; q is the class, or a distribution over classes.

    `class_weights` multiply the terms; smoothing replaces q by (1 - s) q + s / classes.
    """
    return F.cross_entropy(
        logits.float(), targets, weight=class_weights, reduction="none", label_smoothing=label_smoothing
    )


def binary_cross_entropy(
    logits: Float[Tensor, "batch classes"],
    targets: Float[Tensor, "batch classes"],
    *,
    class_weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, " batch"]:
    """The mean over classes of -(w y log s(z) + (1 - y) log(1 - s(z))) per sample, in float32, s the sigmoid."""
    loss = F.binary_cross_entropy_with_logits(logits.float(), targets, pos_weight=class_weights, reduction="none")
    return loss.mean(dim=1)


def modality_losses(
    modality_logits: Mapping[str, Float[Tensor, "batch classes"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    targets: Tensor,
    sample_loss: SampleLoss,
) -> dict[str, Float[Tensor, " batch"]]:
    """l(z_m, y) of every modality m; zero in the rows of samples that lack it."""
    losses = {}
    for name, logits in modality_logits.items():
        loss, rows = sample_loss(logits, targets), present[name]
        losses[name] = loss if rows is None else loss * rows
    return losses
