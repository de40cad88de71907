"""MLA: the modalities take turns, each with an optimiser step of its own on its encoder and the shared head."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from awase.balancing.rule import Forward, Rule, RuleContext
from awase.balancing.scores import check_modalities
from awase.fusion.shared import SharedHead
from awase.types import Batch


class Mla(Rule):
    """One phase per modality, in the model's order: the loss of the shared head on that modality's features alone.

    The gradient of the head's weight is multiplied from the right by P, so that it changes little along features that
    were seen before: with r the mean feature of the step (all micro-batches and processes; samples that have the
    modality), k = P r and a = 0.1^(1 + t) with t in [0, 1) the share of the epoch that is done,
    P <- P - k k^T / (a + r^T k), then P <- P / ||P||_F, beginning at the identity. P takes in the features of a phase
    before it projects that phase's gradient; the first phase of all leaves both as they are. The bias is not projected.
    In a phase only that modality is encoded: the other encoders, their running statistics and their optimiser state
    stand still. With `project=False` the modalities only take turns.

    Deviations. The released code divides k k^T by the matrix a + k r^T, element by element; here the denominator is the
    number a + r^T k of recursive least squares, as the paper has it. A feature mean without any sample is zero and
    leaves P's direction as it is. The stage's objective is not used: a phase's loss is that of its modality's logits.

    Raises `ValueError` for another fusion than `shared_head`, and for a single modality.
    Source: Zhang et al., CVPR 2024, section 3.2, and the released code.
    """

    projection: Tensor
    totals: Tensor

    def __init__(self, context: RuleContext, project: bool = True) -> None:
        super().__init__(context)
        check_modalities(context, "mla")
        fusion = context.model.fusion
        if not isinstance(fusion, SharedHead):
            raise ValueError(
                "The balancing rule 'mla' trains one head on all modalities in turn, and this fusion has none; "
                "use the fusion 'shared_head'."
            )
        self.project = project
        self._weight = [fusion.linear.weight]  # in a list: it is the model's, not the rule's
        self.phase = context.model.modalities[0]
        dim = fusion.linear.in_features
        self.register_buffer("projection", torch.eye(dim))
        self.register_buffer("totals", torch.zeros(dim + 1), persistent=False)

    def phases(self) -> tuple[str | None, ...]:
        return self.context.model.modalities

    def begin(self, epoch: int, phase: str | None) -> None:
        assert phase is not None, "every phase has the name of a modality"
        self.phase = phase

    def view(self, batch: Batch) -> Batch:
        """The batch with the phase's modality alone."""
        name = self.phase
        return replace(
            batch,
            inputs={key: value for key, value in batch.inputs.items() if key == name},
            present={key: value for key, value in batch.present.items() if key == name},
            complete=batch.complete & {name},
        )

    @torch.no_grad()
    def statistics(self, forward: Forward | None) -> Float[Tensor, " statistics"] | None:
        """The sum of the phase's features and the number of samples that have them."""
        if not self.project:
            return None
        if forward is None:
            return torch.zeros_like(self.totals)
        features, rows = forward.output.encoded[self.phase].pooled.float(), forward.present[self.phase]
        kept = features.new_ones(len(features)) if rows is None else rows.to(features.dtype)
        return torch.cat([kept @ features, kept.sum()[None]])

    def observe(self, total: Float[Tensor, " statistics"]) -> None:
        self.totals += total

    def losses(self, forward: Forward) -> Float[Tensor, " batch"]:
        return forward.modality[self.phase]

    @torch.no_grad()
    def after_backward(self, step: int) -> None:
        if not self.project:
            return
        mean = self.totals[:-1] / self.totals[-1].clamp_min(1)
        self.totals.zero_()
        if step == 0:
            return
        turn = step // len(self.phases()) % self.context.steps_per_epoch
        self.projection.copy_(projected(self.projection, mean, 0.1 ** (1 + turn / self.context.steps_per_epoch)))
        gradient = self._weight[0].grad
        if gradient is not None:
            gradient.copy_(gradient @ self.projection.to(gradient.dtype))


def projected(projection: Float[Tensor, "dim dim"], mean: Float[Tensor, " dim"], a: float) -> Float[Tensor, "dim dim"]:
    """P - k k^T / (a + r^T k) with k = P r, scaled to Frobenius norm one; P is symmetric and stays so."""
    k = projection @ mean
    changed: Tensor = projection - torch.outer(k, k) / (a + mean @ k)
    scaled: Tensor = changed / torch.linalg.matrix_norm(changed)
    return scaled
