"""Late fusion: the mean or the sum of the modalities' logits, or a linear layer or a small network on their features.

All but the network split exactly: the fused logits are defined from the logits of each modality.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from awase.fusion.base import Features, Fusion, Logits, Presence


class LateMean(Fusion):
    """The weighted mean of the logits of the modalities a sample has: z = sum_m w_m z_m / T_m over sum_m w_m.

    With `of="probabilities"` the logarithm of the mean of softmax(z_m / T_m); for several labels per sample the logit
    of the mean of the sigmoids. A sample without any modality gets zeros. Weights and temperatures are one unless given
    (`weights={"audio": 0.7, ...}`), for every modality then. Raises `ValueError` for another `of`, for weights or
    temperatures of other modalities, for a negative weight and for a temperature that is not above zero.
    """

    needs_heads = True
    options = ("of", "weights", "temperatures")

    def __init__(
        self,
        dims: dict[str, int],
        num_classes: int,
        multi_label: bool = False,
        of: str = "logits",
        weights: Mapping[str, float] | None = None,
        temperatures: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(dims, num_classes, multi_label)
        if of not in ("logits", "probabilities"):
            raise ValueError(f"A late mean is taken of 'logits' or of 'probabilities', not of {of!r}.")
        self.of = of
        self.weights = _per_modality("weights", weights, dims)
        self.temperatures = _per_modality("temperatures", temperatures, dims)
        if min(self.weights.values()) < 0 or min(self.temperatures.values()) <= 0:
            raise ValueError(
                "The weights of a late mean are 0 or above and its temperatures above 0; these are "
                f"{self.weights} and {self.temperatures}."
            )
        self.plain = weights is None and temperatures is None and of == "logits"

    def forward(
        self, features: Features, head_logits: Logits, present: Presence
    ) -> tuple[Float[Tensor, "batch classes"], Logits]:
        scores = head_logits if self.plain else {name: self._score(name, z) for name, z in head_logits.items()}
        total, weight = weighted_sum(scores, self.weights, present)
        nobody = weight == 0
        mean = total / weight.masked_fill(nobody, 1.0)
        if self.of == "logits":
            return mean, head_logits
        fused = mean.logit(eps=1e-6) if self.multi_label else mean.clamp_min(1e-12).log()
        return fused.masked_fill(nobody, 0.0), head_logits

    def _score(self, name: str, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
        scaled = logits / self.temperatures[name]
        if self.of == "logits":
            return scaled
        return scaled.sigmoid() if self.multi_label else scaled.softmax(dim=-1)


class Sum(Fusion):
    """The sum of one linear head per modality; an absent modality adds nothing."""

    needs_heads = True

    def forward(
        self, features: Features, head_logits: Logits, present: Presence
    ) -> tuple[Float[Tensor, "batch classes"], Logits]:
        total, _ = weighted_sum(head_logits, dict.fromkeys(head_logits, 1.0), present)
        return total, head_logits


class Concat(Fusion):
    """One linear layer on the concatenated features, z = W h + b, written as the sum of its per-modality parts.

    z_m = W[:, slice_m] h_m + b / M. The features of an absent modality are replaced by a learned vector, which
    begins at zero.
    """

    needs_heads = False

    def __init__(self, dims: dict[str, int], num_classes: int, multi_label: bool = False) -> None:
        super().__init__(dims, num_classes, multi_label)
        self.linear = nn.Linear(sum(dims.values()), num_classes)
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.zeros(dim)) for name, dim in dims.items()})

    def forward(
        self, features: Features, head_logits: Logits, present: Presence
    ) -> tuple[Float[Tensor, "batch classes"], Logits]:
        slices = self.linear.weight.split(list(self.dims.values()), dim=1)
        bias = self.linear.bias / len(self.dims)
        logits: Logits = {}
        for name, weight in zip(self.dims, slices, strict=True):
            rows = present[name]
            here = features[name]
            filled = here if rows is None else torch.where(rows[:, None], here, self.absent[name].to(here.dtype))
            logits[name] = nn.functional.linear(filled, weight, bias)
        return torch.stack(list(logits.values())).sum(dim=0), logits


class Mlp(Fusion):
    """A hidden layer with ReLU on the concatenated features, then a linear one.

    The simplest fusion that is not additive: it can learn a label that no modality tells alone. It has no split into
    per-modality logits. An absent modality's features are zeros.
    """

    needs_heads = False
    splits = False
    options = ("hidden",)

    def __init__(self, dims: dict[str, int], num_classes: int, multi_label: bool = False, hidden: int = 128) -> None:
        super().__init__(dims, num_classes, multi_label)
        self.layers = nn.Sequential(nn.Linear(sum(dims.values()), hidden), nn.ReLU(), nn.Linear(hidden, num_classes))

    def forward(
        self, features: Features, head_logits: Logits, present: Presence
    ) -> tuple[Float[Tensor, "batch classes"], Logits]:
        filled = [masked(features[name], present[name]) for name in self.dims]
        return self.layers(torch.cat(filled, dim=1)), {}


def masked(values: Float[Tensor, "batch dim"], rows: Bool[Tensor, " batch"] | None) -> Float[Tensor, "batch dim"]:
    """The values with zeros in the rows of samples that lack them."""
    return values if rows is None else torch.where(rows[:, None], values, torch.zeros_like(values))


def weighted_sum(
    scores: Mapping[str, Float[Tensor, "batch classes"]], weights: Mapping[str, float], present: Presence
) -> tuple[Float[Tensor, "batch classes"], Tensor]:
    """The sum of w_m scores_m over the modalities each sample has, and the sum of those weights (0 where none)."""
    terms = []
    shares = []
    for name, score in scores.items():
        rows = present[name]
        share = score.new_ones(len(score), 1) if rows is None else rows[:, None].to(score.dtype)  # (batch, 1)
        shares.append(weights[name] * share)
        terms.append(weights[name] * score if rows is None else weights[name] * score * share)
    return torch.stack(terms).sum(dim=0), torch.stack(shares).sum(dim=0)


def _per_modality(what: str, given: Mapping[str, float] | None, dims: Mapping[str, int]) -> dict[str, float]:
    if given is None:
        return dict.fromkeys(dims, 1.0)
    if set(given) != set(dims):
        raise ValueError(
            f"The {what} of a late mean are given for {', '.join(sorted(given)) or 'nothing'}; "
            f"give one for each of {', '.join(sorted(dims))}."
        )
    return {name: float(given[name]) for name in dims}
