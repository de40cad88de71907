"""OGM-GE: the encoder of the stronger modality learns more slowly, and noise makes up for what its gradient lost."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from awase.balancing.rule import Forward, Rule, RuleContext
from awase.balancing.scores import check_epochs, check_modality_logits, ratios_to_others, score_sums

Scope = Literal["auto", "conv", "all_weights"]
Several = Literal["min", "mean"]
NOISE_EPSILON = 1e-16
"""Added to the variance of the noise, so that its deviation is at least the 1e-8 that the released code adds to it."""


class OgmGe(Rule):
    """Gradients of encoder m times k_m, plus noise with the deviation of the gradient before that.

    s_m: the mean probability that modality m's own logits give the target, over the samples of the optimiser step that
    have m. rho_m = s_m / s_other; with three or more modalities s_m over the least score (`several="min"`), or the mean
    of the ratios to the others (`"mean"`). k_m = 1 - tanh(alpha rho_m) where rho_m > 1, else 1. A modality that no
    sample of the step has is not compared. `noise`: n ~ N(0, std(g)^2), per tensor, in every encoder, also where
    k = 1; without it the rule is OGM. Only in the epochs `start_epoch` to `end_epoch`, both included.

    `scope`: `conv`, weights of four dimensions (as published); `all_weights`, of two or more. `auto`, our deviation:
    `conv` where more than one weight of four dimensions learns in the encoder (one may be a patch embedding), else
    `all_weights`, because a transformer has next to no convolution to slow down. Heads, the fusion, biases and norms
    are left alone. Several labels per sample, our extension: the score is the mean over classes of the probability of
    what is true.

    Raises `ValueError` for a model without logits per modality, for a value out of range, and where the scope reaches
    no parameter of an encoder that learns. Source: Peng et al., CVPR 2022 (k and the noise: algorithm 1 and its code);
    three modalities as in BalanceBenchmark ("OGM_GE" the least score, "OGM_GE3" the mean of ratios).
    """

    totals: Tensor

    def __init__(
        self,
        context: RuleContext,
        alpha: float = 0.8,
        start_epoch: int = 0,
        end_epoch: int = 50,
        noise: bool = True,
        scope: str = "auto",
        several: str = "min",
    ) -> None:
        super().__init__(context)
        check_modality_logits(context, "ogm_ge")
        check_epochs(start_epoch, end_epoch, "ogm_ge")
        _check_options(alpha, scope, several)
        self.alpha, self.noise, self.several = alpha, noise, several
        self.start_epoch, self.end_epoch = start_epoch, end_epoch
        self.weights = {name: scoped_weights(context, name, scope) for name in context.model.modalities}
        self.active = False
        self.register_buffer("totals", torch.zeros(2, len(self.weights)), persistent=False)

    def begin(self, epoch: int, phase: str | None) -> None:
        self.active = self.start_epoch <= epoch <= self.end_epoch

    def statistics(self, forward: Forward | None) -> Float[Tensor, " statistics"] | None:
        if not self.active:
            return None
        if forward is None:
            return torch.zeros_like(self.totals).flatten()
        assert forward.batch.targets is not None, "training rows have labels"
        logits = {name: forward.output.modality_logits[name] for name in self.weights}
        return score_sums(logits, forward.present, forward.batch.targets, self.context.multi_label).flatten()

    def observe(self, total: Float[Tensor, " statistics"]) -> None:
        self.totals += total.view_as(self.totals)

    @torch.no_grad()
    def after_backward(self, step: int) -> None:
        if not self.active:
            return
        sums, counts = self.totals
        factors = coefficients(sums / counts.clamp_min(1), counts > 0, self.alpha, self.several)
        self.totals.zero_()
        generator = self.generator(step, self.totals.device)
        for parameters, factor in zip(self.weights.values(), factors.unbind(), strict=True):
            gradients = [p.grad for p in parameters if p.grad is not None]
            if not gradients:
                continue
            noise = gradient_noise(gradients, generator) if self.noise else []
            torch._foreach_mul_(gradients, factor)
            if noise:
                torch._foreach_add_(gradients, noise)


def coefficients(
    scores: Float[Tensor, " modalities"], seen: Bool[Tensor, " modalities"], alpha: float, several: str
) -> Float[Tensor, " modalities"]:
    """k_m = 1 - tanh(alpha rho_m) where rho_m > 1, else 1; rho_m is taken over the modalities that were seen."""
    ratios, pairs = ratios_to_others(scores, seen)
    # min: the largest ratio to another is the score over the least one, and at most 1 for the least itself.
    ratio = ratios.amax(dim=1) if several == "min" else ratios.sum(dim=1) / pairs.sum(dim=1)
    return torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), torch.ones_like(ratio))


def gradient_noise(gradients: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Normal noise of the shape of each gradient with its standard deviation (0 for one of a single number)."""
    sizes = [gradient.numel() for gradient in gradients]
    flat = torch.randn(sum(sizes), generator=generator, device=generator.device, dtype=gradients[0].dtype)
    noise = [part.view_as(gradient) for part, gradient in zip(flat.split(sizes), gradients, strict=True)]
    # In two passes, which is exact and much faster than Tensor.var on a CPU.
    means = torch.stack([gradient.mean() for gradient in gradients])
    centred = torch._foreach_sub(list(gradients), means.unbind())
    deviations = torch._foreach_norm(centred)
    torch._foreach_div_(deviations, [math.sqrt(max(size - 1, 1)) for size in sizes])
    torch._foreach_mul_(noise, (torch.stack(deviations).square() + NOISE_EPSILON).sqrt().unbind())
    return noise


def scoped_weights(context: RuleContext, modality: str, scope: str) -> list[nn.Parameter]:
    """The parameters of a modality's encoder whose gradients are modulated; none for an encoder that does not learn."""
    learning = list(context.encoder_parameters(modality).values())
    if scope == "auto":
        scope = "conv" if sum(parameter.dim() == 4 for parameter in learning) > 1 else "all_weights"
    chosen = [p for p in learning if (p.dim() == 4 if scope == "conv" else p.dim() >= 2)]
    if learning and not chosen:
        raise ValueError(
            f"The scope {scope!r} of 'ogm_ge' reaches no parameter that learns in the encoder of {modality!r}; "
            "use scope='all_weights', or 'auto'."
        )
    return chosen


def _check_options(alpha: float, scope: str, several: str) -> None:
    if alpha < 0:
        raise ValueError(f"The alpha of 'ogm_ge' is 0 or above; given: {alpha}.")
    if scope not in get_args(Scope):
        raise ValueError(f"The scope of 'ogm_ge' is one of {', '.join(get_args(Scope))}; given: {scope!r}.")
    if several not in get_args(Several):
        raise ValueError(
            f"The option several of 'ogm_ge' is one of {', '.join(get_args(Several))}; given: {several!r}."
        )
