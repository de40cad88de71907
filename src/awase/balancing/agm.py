"""AGM: the gradient through each modality's share of the logits, stronger where the modality lags behind."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.balancing.rule import Features, Forward, Presence, Rule, RuleContext
from awase.fusion.rows import encode_zeros
from awase.statistics import shapley_weights, subsets

LARGEST = 10.0
"""The bound on the difference of the ratios."""


class Agm(Rule):
    """Adaptive gradient modulation: z = sum_m s_m, and the gradient through s_m is multiplied by kappa_m.

    The share s_m is the Shapley value of modality m in the game whose value v(S) are the fused logits when every
    modality outside S has an input of zeros, v of the empty set being zero. For two modalities that is
    s_a = (z(a, v) - z(0, v) + z(a, 0)) / 2. A sample that lacks m has s_m = 0; the shares of its others add up to z.
    The loss is l(z, y), unweighted, whatever the weights of the stage's objective. With e_m the mean of l(s_m, y) over
    the samples that have m, and tau_m the mean of e_m over the earlier iterations (zero before the first),

        r_m = exp(mean over j != m of e_j - e_m),  kappa_m = exp(alpha min(exp(mean of tau_j - tau_m) - r_m, 10)).

    The mean over the others is that of the authors' code for three modalities (of which the order of the update and
    the bound are not taken over: there the running means hold the present iteration and the bound is 7). Encoders run
    once: only the fusion is evaluated again, on 2^M - 2 sets.

    Deviations: the feature of an input of zeros is computed once per step, in evaluation mode and without gradient,
    since its rows are all alike and batch norm in training mode would learn from them. An input of named tensors has
    masks of ones. An iteration is a micro-batch: with `accumulate`, kappa differs from that of one large batch.

    Raises `ValueError` for one modality alone, where the modalities meet inside the encoders, where an encoder does
    not learn, and for a negative `alpha`. Source: Li et al., ICCV 2023; alpha 1.5 is the authors' for CREMA-D.
    """

    means: Tensor
    counts: Tensor
    _weights: Tensor
    _members: Tensor

    def __init__(self, context: RuleContext, alpha: float = 1.5) -> None:
        super().__init__(context)
        model = context.model
        if len(model.modalities) < 2:
            raise ValueError(f"AGM balances two or more modalities; this stage has {', '.join(model.modalities)}.")
        if model.mixes:
            raise ValueError(
                "AGM needs encoders that each see one modality; in this fusion the modalities meet inside them."
            )
        frozen = [name for name in model.modalities if not context.encoder_parameters(name)]
        if frozen:
            raise ValueError(f"AGM balances encoders that learn; those of {', '.join(frozen)} do not in this stage.")
        if alpha < 0:
            raise ValueError(f"The alpha of AGM is 0 or above; this is {alpha}.")
        self.alpha = alpha
        device = next(iter(model.parameters())).device
        self.register_buffer("means", torch.zeros(len(model.modalities), device=device))
        self.register_buffer("counts", torch.zeros(len(model.modalities), device=device))
        self.register_buffer("_weights", shapley_matrix(len(model.modalities)).to(device), persistent=False)
        members = torch.tensor(sets_of(len(model.modalities)), dtype=torch.float32, device=device)
        self.register_buffer("_members", members, persistent=False)  # (sets, modalities)
        self._zeros: dict[str, Tensor] = {}
        self._shares: Tensor | None = None
        self._factors: Tensor | None = None

    def begin(self, epoch: int, phase: str | None) -> None:
        """Forgets the features of zero inputs: the encoders have learned since."""
        self._zeros = {}

    def statistics(self, forward: Forward | None) -> Float[Tensor, " statistics"]:
        """Per modality the sum of l(s_m, y) over the samples that have it, then their numbers."""
        names = self.context.model.modalities
        if forward is None:
            return self.means.new_zeros(2 * len(names))
        self._shares = shares = self._split(forward)
        assert forward.batch.targets is not None, "training rows have labels"
        present = presence_rows(forward.present, names, shares)  # (modalities, batch)
        targets = forward.batch.targets
        with torch.no_grad():
            every = forward.sample_loss(shares.flatten(0, 1), targets.repeat(len(names), *[1] * (targets.dim() - 1)))
        errors = every.unflatten(0, (len(names), -1))  # (modalities, batch)
        return torch.cat([(errors * present).sum(dim=1), present.sum(dim=1).to(errors.dtype)])

    def observe(self, total: Float[Tensor, " statistics"]) -> None:
        """Sets the factors of this iteration, then adds it to the running means."""
        sums, numbers = total.to(self.means.dtype).chunk(2)
        here = numbers > 0
        errors = sums / numbers.clamp_min(1.0)
        seen = here & (self.counts > 0)
        ratio = (others_mean(errors, here) - errors).exp()
        expected = torch.where(seen, (others_mean(self.means, seen) - self.means).exp(), 1.0)
        self._factors = (self.alpha * (expected - ratio).clamp_max(LARGEST)).exp()  # (modalities,)
        self.counts += here
        self.means += torch.where(here, (errors - self.means) / self.counts.clamp_min(1.0), 0.0)

    def losses(self, forward: Forward) -> Float[Tensor, " batch"]:
        """l(z, y) with z = sum_m s_m, its gradient through s_m times kappa_m."""
        shares, factors = self._shares, self._factors
        assert shares is not None, "statistics come before losses"
        assert factors is not None, "observe comes before losses"
        assert forward.batch.targets is not None, "training rows have labels"
        self._shares = self._factors = None
        weighted = torch.tensordot(factors, shares, dims=1)  # (batch, classes)
        logits = forward.output.logits.detach() + (weighted - weighted.detach())  # the value is z
        return forward.sample_loss(logits, forward.batch.targets)

    def _split(self, forward: Forward) -> Float[Tensor, "modalities batch classes"]:
        """The share of every modality in the fused logits."""
        model = self.context.model
        names = model.modalities
        features = {name: value.pooled for name, value in forward.output.encoded.items()}
        zeros = self._zero_features(forward, features)
        sets = sets_of(len(names))[:-1]
        filled, present = {}, {}
        for position, name in enumerate(names):
            inside = [
                features[name] if members[position] else zeros[name].expand_as(features[name]) for members in sets
            ]
            rows = forward.present[name]
            filled[name] = torch.cat(inside).float()  # (sets * batch, dim)
            present[name] = None if rows is None else rows.repeat(len(sets))
        values, _ = model.decide(filled, present)
        values = torch.cat([values.unflatten(0, (len(sets), -1)), forward.output.logits[None]])
        known = self._members @ presence_rows(forward.present, names, values).float() > 0  # (sets, batch)
        return torch.einsum("ms,sbc->mbc", self._weights, values * known[:, :, None])

    def _zero_features(self, forward: Forward, features: Features) -> dict[str, Tensor]:
        """Of each modality the feature `(1, dim)` of an input of zeros; computed at the first batch that has it."""
        found = {}
        for name, own in features.items():
            if name in forward.batch.inputs and name not in self._zeros:
                self._zeros[name] = encode_zeros(self.context.model.encoders[name], forward.batch.inputs[name]).pooled
            found[name] = self._zeros[name].to(own.dtype) if name in self._zeros else own.new_zeros(1, own.shape[1])
        return found


def shapley_matrix(num: int) -> Float[Tensor, "modalities sets"]:
    """What each set's value counts for in each modality's Shapley value; sets in the order of `sets_of`.

    >>> shapley_matrix(2)
    tensor([[ 0.5000, -0.5000,  0.5000],
            [-0.5000,  0.5000,  0.5000]])
    """
    names = [str(position) for position in range(num)]
    weights = shapley_weights(names)
    return torch.tensor([[weights[name][chosen] for chosen in subsets(names)[1:]] for name in names])


def sets_of(num: int) -> list[tuple[bool, ...]]:
    """Which of `num` modalities each set has: all sets but the empty one, by size, the whole one last.

    >>> sets_of(2)
    [(True, False), (False, True), (True, True)]
    """
    names = [str(position) for position in range(num)]
    return [tuple(name in chosen for name in names) for chosen in subsets(names)[1:]]


def others_mean(
    values: Float[Tensor, " modalities"], here: Bool[Tensor, " modalities"]
) -> Float[Tensor, " modalities"]:
    """Per modality the mean of the values of the other ones that are `here`; its own value where there is none."""
    kept = torch.where(here, values, 0.0)
    number = here.sum() - here.to(values.dtype)
    return torch.where(number > 0, (kept.sum() - kept) / number.clamp_min(1.0), values)


def presence_rows(present: Presence, names: tuple[str, ...], like: Tensor) -> Bool[Tensor, "modalities batch"]:
    """Which samples have each modality; `like` is `(_, batch, _)` and gives the number of samples and the device."""
    everyone = torch.ones(like.shape[1], dtype=torch.bool, device=like.device)
    rows: list[Tensor | None] = [present[name] for name in names]
    return torch.stack([everyone if mask is None else mask for mask in rows])
