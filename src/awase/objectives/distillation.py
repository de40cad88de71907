"""Distances between the features of a model that learns and those of a frozen one."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from awase.objectives.presence import without_absent


def feature_distance(
    features: Mapping[str, Float[Tensor, "batch _"]],
    teachers: Mapping[str, Float[Tensor, "batch _"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    *,
    measure: Literal["squared", "cosine"] = "squared",
) -> Float[Tensor, " batch"]:
    """sum_m d(h_m, t_m) per sample, over the modalities it has, in float32 at least; no gradient to the teachers.

    d is ||h - t||^2 / dim, or with `measure="cosine"` 1 - cos(h, t), which is 1 where one of them is zero. With the
    features of the old model as teachers it is learning without forgetting on features.
    The squared one's mean over a batch in which every sample has every modality is the sum over m of the mean squared
    error of all features. Source: Du et al., ICML 2023; the mean over batch and features as in BalanceBenchmark.
    Raises `ValueError` where student and teacher have features of different sizes.
    """
    distance = DISTANCES[measure]
    terms = []
    for name, teacher in teachers.items():
        own = features[name]
        if own.shape != teacher.shape:
            raise ValueError(
                f"The features of {name!r} have the shape {tuple(own.shape)} and its teacher's {tuple(teacher.shape)}; "
                "a student learns from a teacher with features of the same size."
            )
        here = present[name]
        term = distance(without_absent(own, here), without_absent(teacher.detach(), here))
        terms.append(term if here is None else term * here)
    return torch.stack(terms).sum(dim=0)


def _squared(own: Float[Tensor, "batch dim"], teacher: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    return (own - teacher).square().mean(dim=1)


def _cosine(own: Float[Tensor, "batch dim"], teacher: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    return 1 - F.cosine_similarity(own, teacher, dim=1)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cosine": _cosine, "squared": _squared}
