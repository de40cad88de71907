"""PMR: the weaker modality is drawn to prototypes of the classes, the mean features of their samples."""

from typing import cast

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from awase.balancing.rule import Forward, Rule, RuleContext
from awase.balancing.scores import check_epochs, check_modalities

FAR = -1e30
"""The similarity of a class without prototype: its softmax is zero, and a row of nothing else has no NaN."""


class Pmr(Rule):
    """The loss plus alpha CE(-||h_m - c_m,k||_2 over classes k, y) for every modality m that is behind.

    c_m,k: the mean feature of class k in modality m. s_m: the mean softmax probability that these similarities give the
    target, over the samples of the batch that have m, on all processes. Modality m is behind where s_m is less than the
    greatest score; its weight is then 1, as in the released code, or with `soft`, as in the paper,
    min(max_j s_j / s_m - 1, 1). Two modalities: rho = s_a / s_v > 1 strengthens v, rho < 1 a, rho = 1 none. Three or
    more: the same with the leader as reference, our extension. With `soft`, until epoch `entropy_epochs` (not
    included) also - entropy_weight w H(p) with p the leader's softmax over prototypes and w the largest weight of
    those behind; its two numbers are ours, the released code has no such term.

    Deviations. Prototypes are made of the features of training itself, with its augmentation and dropout, of every
    sample of an epoch, instead of an extra pass over a tenth of the data: c = (1 - momentum) c_new + momentum c_old at
    the end of each epoch. So the first epoch has none and is plain training, as are the epochs outside `start_epoch` to
    `end_epoch`; a class that has not been seen yet takes no part, and one that an epoch does not see keeps what it has.
    With accumulation every micro-batch is compared by itself: its own loss needs its scores. Targets that are
    distributions over classes (mixup) weigh the features and the scores.

    Raises `ValueError` for a single modality, several labels per sample, and a value out of range.
    Source: Fan et al., CVPR 2023, and the released code.
    """

    prototypes: Tensor
    known: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(
        self,
        context: RuleContext,
        alpha: float = 1.0,
        start_epoch: int = 0,
        end_epoch: int = 100,
        momentum: float = 0.2,
        soft: bool = False,
        entropy_weight: float = 0.1,
        entropy_epochs: int = 5,
    ) -> None:
        super().__init__(context)
        check_modalities(context, "pmr")
        check_epochs(start_epoch, end_epoch, "pmr")
        _check_options(context, alpha, momentum, entropy_weight)
        self.alpha, self.momentum, self.soft = alpha, momentum, soft
        self.start_epoch, self.end_epoch = start_epoch, end_epoch
        self.entropy_weight, self.entropy_epochs = entropy_weight if soft else 0.0, entropy_epochs
        self.dims = {name: cast(int, encoder.dim) for name, encoder in context.model.encoders.items()}
        classes, width, modalities = context.num_classes, sum(self.dims.values()), len(self.dims)
        self.register_buffer("prototypes", torch.zeros(classes, width))
        self.register_buffer("known", torch.zeros(classes, modalities, dtype=torch.bool))
        self.register_buffer("sums", torch.zeros(classes, width))
        self.register_buffer("counts", torch.zeros(classes, modalities))
        self.epoch = 0
        self._shares: Tensor | None = None
        self._logs: list[Tensor] = []
        self._scores: Tensor | None = None

    @property
    def collects(self) -> bool:
        """Whether this epoch's features make prototypes."""
        return self.epoch < self.end_epoch

    @property
    def compares(self) -> bool:
        """Whether this epoch strengthens those behind: there are prototypes from the second epoch on."""
        return max(self.start_epoch, 1) <= self.epoch <= self.end_epoch

    def begin(self, epoch: int, phase: str | None) -> None:
        self.epoch = epoch

    def statistics(self, forward: Forward | None) -> Float[Tensor, " statistics"] | None:
        """The sums and counts of each class's features, and of the scores, as far as this epoch needs them."""
        if not (self.collects or self.compares):
            return None
        if forward is None:
            return self.prototypes.new_zeros(self._sizes()[0] * self.collects + self._sizes()[1] * self.compares)
        shares = class_shares(forward, self.context.num_classes)  # (modalities, batch, classes)
        parts: list[Tensor] = []
        if self.collects:
            features = [forward.output.encoded[name].pooled.detach().float() for name in self.dims]
            sums = [share.T @ h for share, h in zip(shares, features, strict=True)]
            parts += [torch.cat(sums, dim=1).flatten(), shares.sum(dim=1).T.flatten()]
        if self.compares:
            self._shares = shares
            self._logs = [similarity.log_softmax(dim=1) for similarity in self._compare(forward).values()]
            parts.append(self._score_sums(shares).flatten())
        return torch.cat(parts)

    @torch.no_grad()
    def observe(self, total: Float[Tensor, " statistics"]) -> None:
        if self.collects:
            features, total = total.split([self._sizes()[0], len(total) - self._sizes()[0]])
            sums, counts = features.split([self.sums.numel(), self.counts.numel()])
            self.sums += sums.view_as(self.sums)
            self.counts += counts.view_as(self.counts)
        if self.compares:
            scores, counts = total.view(2, -1)
            # A modality that no sample of the batch has is neither ahead nor behind.
            self._scores = (scores / counts).masked_fill(counts == 0, torch.nan)

    def losses(self, forward: Forward) -> Float[Tensor, " batch"]:
        if not self.compares:
            return forward.total
        assert self._scores is not None, "observe comes before losses"
        assert self._shares is not None, "statistics come before losses"
        shares, logs_of, self._shares, self._logs = self._shares, self._logs, None, []
        weights, leading = behind(self._scores, self.soft)
        terms = []
        for number, logs in enumerate(logs_of):  # (batch, classes)
            own = shares[number] * self.known[:, number]
            terms.append(-self.alpha * weights[number] * (own * logs).sum(dim=1))
            if self.entropy_weight > 0 and self.epoch < self.entropy_epochs:
                rows = (shares[number].sum(dim=1) > 0).to(logs.dtype)
                entropy = -(logs.exp() * logs).sum(dim=1) * rows
                terms.append(-self.entropy_weight * leading[number] * entropy)
        return forward.total + torch.stack(terms).sum(dim=0)

    @torch.no_grad()
    def on_epoch_end(self, epoch: int) -> None:
        if not self.collects:
            return
        seen = self.counts > 0
        new = self.sums / self._columns(self.counts).clamp_min(torch.finfo(torch.float32).tiny)
        mixed = (1 - self.momentum) * new + self.momentum * self.prototypes
        updated = torch.where(self._columns(self.known), mixed, new)
        self.prototypes.copy_(torch.where(self._columns(seen), updated, self.prototypes))
        self.known |= seen
        self.sums.zero_()
        self.counts.zero_()

    def _sizes(self) -> tuple[int, int]:
        """The numbers of statistics of the features, and of the scores."""
        return self.sums.numel() + self.counts.numel(), 2 * len(self.dims)

    def _columns(self, of: Shaped[Tensor, "classes modalities"]) -> Shaped[Tensor, "classes width"]:
        """One value per class and modality, repeated for each of the modality's features."""
        parts = [column[:, None].expand(-1, dim) for column, dim in zip(of.T, self.dims.values(), strict=True)]
        return torch.cat(parts, dim=1)

    def _compare(self, forward: Forward) -> dict[str, Float[Tensor, "batch classes"]]:
        """-||h_m - c_m,k||_2 per modality, `FAR` for a class without prototype; with gradient."""
        found = {}
        parts = self.prototypes.split(list(self.dims.values()), dim=1)
        for number, (name, prototypes) in enumerate(zip(self.dims, parts, strict=True)):
            features = forward.output.encoded[name].pooled.float()
            # Not by way of inner products, which lose the small distances.
            distance = torch.cdist(features, prototypes, compute_mode="donot_use_mm_for_euclid_dist")
            found[name] = (-distance).masked_fill(~self.known[:, number], FAR)
        return found

    @torch.no_grad()
    def _score_sums(self, shares: Float[Tensor, "modalities batch classes"]) -> Float[Tensor, "2 modalities"]:
        known = shares * self.known.T[:, None]  # (modalities, batch, classes)
        probabilities = torch.stack(self._logs).exp()
        return torch.stack([(probabilities * known).sum(dim=(1, 2)), known.sum(dim=(1, 2))])


def class_shares(forward: Forward, num_classes: int) -> Float[Tensor, "modalities batch classes"]:
    """How much of each class a sample is: one-hot, or its distribution; zero for a modality that it lacks."""
    targets = forward.batch.targets
    assert targets is not None, "training rows have labels"
    if targets.dim() == 1:
        targets = F.one_hot(targets, num_classes)
    shares = targets.float()
    rows = [shares if present is None else shares * present[:, None] for present in forward.present.values()]
    return torch.stack(rows)


def behind(
    scores: Float[Tensor, " modalities"], soft: bool
) -> tuple[Float[Tensor, " modalities"], Float[Tensor, " modalities"]]:
    """The weight of each modality that is behind, and, at the leader's place, the largest of these; zero elsewhere.

    A modality whose score is NaN takes no part; alone, or at equal scores, nobody is behind.
    """
    numbers = scores.nan_to_num(nan=-1.0)
    best = numbers.max()
    is_behind: Bool[Tensor, " modalities"] = (numbers < best) & (numbers >= 0)
    weights = (best / numbers - 1).clamp(0, 1) if soft else torch.ones_like(numbers)
    weights = torch.where(is_behind, weights, torch.zeros_like(weights))
    leader = torch.arange(len(numbers), device=numbers.device) == numbers.argmax()
    return weights, leader * weights.max()


def _check_options(context: RuleContext, alpha: float, momentum: float, entropy_weight: float) -> None:
    if context.multi_label:
        raise ValueError("The balancing rule 'pmr' has a prototype per class: it needs one label per sample.")
    if alpha < 0 or entropy_weight < 0:
        raise ValueError(f"The weights of 'pmr' are 0 or above; given: alpha={alpha}, entropy_weight={entropy_weight}.")
    if not 0 <= momentum < 1:
        raise ValueError(f"The momentum of 'pmr' is the share of the old prototypes, in [0, 1); given: {momentum}.")
