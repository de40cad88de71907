"""The losses of combinations of modalities, each in embeddings of its own."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from awase.distributed import ALONE, World
from awase.objectives.contrastive import PairLoss
from awase.objectives.presence import all_of, everyone, without_absent

CANCELLED = 1e-6
"""Unit vectors whose mean is shorter than this cancel each other, as far as float32 can tell."""
SpanLoss = Callable[..., Float[Tensor, " batch"]]
"""(x, *others, *, present, world) -> losses."""


def combination_loss(
    embeddings: Mapping[str, Float[Tensor, "batch dim"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    loss: PairLoss,
    *,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """The loss of one combination, summed per sample.

    Of two modalities loss(x, y), x being the first in the alphabet. Of more, the mean over modalities m of
    loss(z_m, mean of the unit vectors of the others that a sample has): one against the fused others (Shvetsova et
    al. 2022, without their weights). A sample that lacks m, or all others, is 0 in that term and nobody's negative.
    Where the others cancel each other, their mean is zeros and gets no gradient.
    Raises `ValueError` for fewer than two modalities.
    """
    names = sorted(embeddings)
    if len(names) < 2:
        raise ValueError(f"A combination has two or more modalities; given: {', '.join(names) or 'none'}.")
    if len(names) == 2:
        first, second = names
        both = all_of([present[first], present[second]])
        return loss(embeddings[first], embeddings[second], present=both, world=world)
    terms = []
    for name in names:
        others = [other for other in names if other != name]
        fused, there = _fused([embeddings[other] for other in others], [present[other] for other in others])
        terms.append(loss(embeddings[name], fused, present=all_of([present[name], there]), world=world))
    return torch.stack(terms).mean(dim=0)


def span_loss(
    embeddings: Mapping[str, Float[Tensor, "batch dim"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    span: SpanLoss,
    *,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """The mean over modalities m of span(z_m, the others' embeddings), m being the anchor; per sample.

    `span` is `triangle_area` or `volume`, with its temperature. A sample that lacks any of the modalities is 0 and
    nobody's negative.
    """
    names = sorted(embeddings)
    whole = all_of([present[name] for name in names])
    terms = []
    for name in names:
        others = [embeddings[other] for other in names if other != name]
        terms.append(span(embeddings[name], *others, present=whole, world=world))
    return torch.stack(terms).mean(dim=0)


def _fused(values: list[Tensor], masks: list[Tensor | None]) -> tuple[Tensor, Tensor | None]:
    """The mean of the unit vectors that a sample has, and who has any; zeros where there is none."""
    units = [F.normalize(without_absent(value, mask), dim=1) for value, mask in zip(values, masks, strict=True)]
    total = torch.stack(units).sum(dim=0)
    if all(mask is None for mask in masks):
        return _with_direction(total / len(units)), None
    count = torch.stack([everyone(unit, mask) for unit, mask in zip(units, masks, strict=True)]).sum(dim=0)
    return _with_direction(total / count.clamp(min=1)[:, None]), count > 0


def _with_direction(means: Tensor) -> Tensor:
    """The means, zeros and constant where next to nothing is left: the gradient of a direction grows as 1 / length."""
    left = means.detach().norm(dim=1, keepdim=True) > CANCELLED
    return torch.where(left, means, torch.zeros_like(means))
