"""OPM: features of the stronger modality are dropped, so that the classifier must learn from the weaker one."""

from collections.abc import Mapping
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from awase.balancing.draws import streams_of, uniform_of
from awase.balancing.rule import Features, Forward, Presence, Rule, RuleContext
from awase.balancing.scores import check_modality_logits, ratios_to_others, score_sums
from awase.types import Batch


class Opm(Rule):
    """With probability `p_exe` a step drops all features of modality m of a sample with probability q_m.

    s_m: the mean probability that modality m's own logits, of features that nothing was dropped from, give the target.
    r_m = tanh(max(s_m / s_other - 1, 0)), q_m = min(q_base (1 + lam r_m), 1) where r_m > 0, else 0. In such a step all
    features are also divided by 1 - theta, theta = sum_m d_m q_m / sum_m d_m with the feature sizes d_m. A sample of
    which nothing is left takes no part: the gradient is the mean over the others. A dropped feature is a vector of
    zeros, and not what a fusion puts in the place of an absent modality. From epoch `start_epoch` on.

    Deviations. The scores are those of the optimiser step before, over all its samples on all processes, instead of the
    same batch's: so every micro-batch and process drops with the same q; the first step drops nothing. What is dropped
    depends on the seed, the step and the sample alone. Three or more modalities: s_other is the mean of the others'
    scores, our extension (BalanceBenchmark takes their sum, with which hardly any modality is ever ahead). Several
    labels per sample, our extension: the score is the mean over classes of the probability of what is true.

    Raises `ValueError` for a model without logits per modality and for a value out of range.
    Source: Wei et al., TPAMI 2024, and the released code, whose warm-up of six epochs is the default.
    """

    scores: Tensor
    step: Tensor
    totals: Tensor
    sizes: Tensor
    streams: Tensor

    def __init__(
        self,
        context: RuleContext,
        q_base: float = 0.5,
        lam: float = 0.5,
        p_exe: float = 0.7,
        start_epoch: int = 6,
    ) -> None:
        super().__init__(context)
        check_modality_logits(context, "opm")
        if not (0 <= q_base <= 1 and 0 <= p_exe <= 1 and lam >= 0 and start_epoch >= 0):
            raise ValueError(
                "Of the options of 'opm', q_base and p_exe lie in [0, 1], lam and start_epoch are 0 or above; "
                f"given: q_base={q_base}, p_exe={p_exe}, lam={lam}, start_epoch={start_epoch}."
            )
        self.q_base, self.lam, self.p_exe = q_base, lam, p_exe
        self.start_epoch = start_epoch
        self.dims = {name: cast(int, encoder.dim) for name, encoder in context.model.encoders.items()}
        self.active = False
        self.register_buffer("scores", torch.full((len(self.dims),), torch.nan))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        # Per modality the sum of scores and the number of samples; then all samples, and those with something left.
        self.register_buffer("totals", torch.zeros(2 * len(self.dims) + 2), persistent=False)
        self.register_buffer("sizes", torch.tensor(list(self.dims.values())).float(), persistent=False)
        self.register_buffer("streams", streams_of(context.seed, len(self.dims)), persistent=False)
        self._left: Tensor | None = None

    def begin(self, epoch: int, phase: str | None) -> None:
        self.active = epoch >= self.start_epoch

    def on_encoded(self, features: Features, present: Presence, batch: Batch) -> tuple[Features, Presence]:
        if not self.active:
            return features, present
        chances = drop_chances(self.scores, self.q_base, self.lam)
        theta = (chances * self.sizes).sum() / self.sizes.sum()
        kept, executes = self._draw(batch.index, chances)
        # (modalities, batch): 1 in a step that drops nothing.
        factors = torch.where(executes, kept / (1 - theta), torch.ones_like(self.sizes)[:, None])
        self._left = something_left(factors > 0, present, tuple(self.dims))
        edited = {
            name: features[name] * factor[:, None].to(features[name].dtype)
            for name, factor in zip(self.dims, factors, strict=True)
        }
        return edited, present

    def statistics(self, forward: Forward | None) -> Float[Tensor, " statistics"] | None:
        if not self.active:
            return None
        if forward is None:
            return torch.zeros_like(self.totals)
        assert self._left is not None, "on_encoded comes before statistics"
        sums = score_sums(
            self._whole_logits(forward), forward.present, self._targets(forward), self.context.multi_label
        )
        return torch.cat([sums.flatten(), torch.stack([torch.ones_like(self._left).sum(), self._left.sum()]).float()])

    def observe(self, total: Float[Tensor, " statistics"]) -> None:
        self.totals += total

    def losses(self, forward: Forward) -> Float[Tensor, " batch"]:
        if not self.active:
            return forward.total
        assert self._left is not None, "on_encoded comes before losses"
        left, self._left = self._left, None
        return forward.total * left

    @torch.no_grad()
    def after_backward(self, step: int) -> None:
        self.step.fill_(step + 1)
        if not self.active:
            return
        sums, counts, (samples, left) = self.totals.split([len(self.dims), len(self.dims), 2])
        self.scores.copy_(torch.where(counts > 0, sums / counts, self.scores))
        gradients = [p.grad for part in self.context.trained.values() for p in part.values() if p.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, samples / left.clamp_min(1))
        self.totals.zero_()

    def _draw(
        self, rows: Int[Tensor, " batch"], chances: Float[Tensor, " modalities"]
    ) -> tuple[Bool[Tensor, "modalities batch"], Bool[Tensor, ""]]:
        """(which features are kept, whether this step drops any): the latter as of a row that no data set has."""
        draws = uniform_of(F.pad(rows, (0, 1), value=-1), self.step, self.streams)
        return draws[:, :-1] >= chances[:, None], draws[0, -1] < self.p_exe

    @torch.no_grad()
    def _whole_logits(self, forward: Forward) -> dict[str, Float[Tensor, "batch classes"]]:
        features = {name: forward.output.encoded[name].pooled.float() for name in self.dims}
        _, logits = self.context.model.decide(features, forward.present)
        return {name: logits[name] for name in self.dims}

    def _targets(self, forward: Forward) -> Tensor:
        assert forward.batch.targets is not None, "training rows have labels"
        return forward.batch.targets


def drop_chances(scores: Float[Tensor, " modalities"], q_base: float, lam: float) -> Float[Tensor, " modalities"]:
    """q_m = min(q_base (1 + lam r_m), 1) where r_m > 0, else 0; r_m = tanh(max(s_m / mean of the others - 1, 0)).

    A modality whose score is NaN (not seen yet) is not compared and never dropped.
    """
    # 1 over the mean over j of s_j / s_m is s_m over the mean of the others; equal scores give exactly one.
    ratios, pairs = ratios_to_others(scores, ~scores.isnan())
    ratio = pairs.sum(dim=1) / ratios.sum(dim=0)
    ahead = torch.tanh((ratio - 1).clamp_min(0))
    return torch.where(ahead > 0, (q_base * (1 + lam * ahead)).clamp_max(1), torch.zeros_like(ahead))


def something_left(
    kept: Bool[Tensor, "modalities batch"], present: Mapping[str, Bool[Tensor, " batch"] | None], names: tuple[str, ...]
) -> Bool[Tensor, " batch"]:
    """Whether a sample has a modality that was kept."""
    rows = [keep if present[name] is None else keep & present[name] for name, keep in zip(names, kept, strict=True)]
    return torch.stack(rows).any(dim=0)
