"""Fusions of two modalities in which one conditions the other: FiLM and a gate. They have no split into modalities."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from awase.fusion.base import Features, Fusion, Logits, Presence


class Film(Fusion):
    """Feature-wise linear modulation: z = fc_out(gamma * h + beta) with [gamma, beta] = fc(c).

    c are the features of the modality that conditions (`conditioning`; "audio" where there is one, else the first),
    h those of the other. The features of an absent modality are replaced by a learned vector, which begins at zero.
    Raises `ValueError` for any number of modalities but two, and for a `conditioning` that is neither of them.
    Source: Perez et al., AAAI 2018; in the form of Peng et al., CVPR 2022.
    """

    needs_heads = False
    splits = False
    options = ("conditioning",)

    def __init__(
        self, dims: dict[str, int], num_classes: int, multi_label: bool = False, conditioning: str | None = None
    ) -> None:
        super().__init__(dims, num_classes, multi_label)
        self.conditioning, self.conditioned = roles("film", dims, conditioning)
        width = dims[self.conditioned]
        self.modulation = nn.Linear(dims[self.conditioning], 2 * width)
        self.output = nn.Linear(width, num_classes)
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.zeros(dim)) for name, dim in dims.items()})

    def forward(
        self, features: Features, head_logits: Logits, present: Presence
    ) -> tuple[Float[Tensor, "batch classes"], Logits]:
        scale, shift = self.modulation(_filled(self.conditioning, features, present, self.absent)).chunk(2, dim=1)
        return self.output(scale * _filled(self.conditioned, features, present, self.absent) + shift), {}


class Gated(Fusion):
    """A gate: z = fc_out(sigmoid(fc_x(c)) * fc_y(h)), both inner layers as wide as h unless `hidden` says else.

    Which features are c and h, what stands for an absent modality, and what is refused is as in `Film`.
    Source: Kiela et al., AAAI 2018; in the form of Peng et al., CVPR 2022.
    """

    needs_heads = False
    splits = False
    options = ("conditioning", "hidden")

    def __init__(
        self,
        dims: dict[str, int],
        num_classes: int,
        multi_label: bool = False,
        conditioning: str | None = None,
        hidden: int | None = None,
    ) -> None:
        super().__init__(dims, num_classes, multi_label)
        self.conditioning, self.conditioned = roles("gated", dims, conditioning)
        width = dims[self.conditioned] if hidden is None else hidden
        if width < 1:
            raise ValueError(f"The hidden width of the fusion 'gated' is 1 or more; this is {width}.")
        self.gate = nn.Linear(dims[self.conditioning], width)
        self.value = nn.Linear(dims[self.conditioned], width)
        self.output = nn.Linear(width, num_classes)
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.zeros(dim)) for name, dim in dims.items()})

    def forward(
        self, features: Features, head_logits: Logits, present: Presence
    ) -> tuple[Float[Tensor, "batch classes"], Logits]:
        gate = self.gate(_filled(self.conditioning, features, present, self.absent)).sigmoid()
        return self.output(gate * self.value(_filled(self.conditioned, features, present, self.absent))), {}


def roles(fusion: str, dims: Mapping[str, int], conditioning: str | None) -> tuple[str, str]:
    """(the modality that conditions, the one that is conditioned) of the two in `dims`; `ValueError` for others.

    >>> roles("film", {"video": 3, "audio": 5}, None)
    ('audio', 'video')
    """
    names = ", ".join(dims)
    if len(dims) != 2:
        raise ValueError(
            f"The fusion {fusion!r} is defined for two modalities; these are {len(dims)}: {names}. "
            "For another number use concat, sum, late_mean or mlp."
        )
    first = ("audio" if "audio" in dims else next(iter(dims))) if conditioning is None else conditioning
    if first not in dims:
        raise ValueError(f"The fusion {fusion!r} cannot be conditioned on {first!r}; the modalities are {names}.")
    return first, next(name for name in dims if name != first)


def _filled(name: str, features: Features, present: Presence, absent: nn.ParameterDict) -> Float[Tensor, "batch dim"]:
    """The features of one modality, with its learned vector in the rows of samples that lack it."""
    here, rows = features[name], present[name]
    return here if rows is None else torch.where(rows[:, None], here, absent[name].to(here.dtype))
