"""Distances between the features of a model that learns and those of a frozen one."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def feature_distance(
    features: Mapping[str, Float[Tensor, "batch _"]],
    teachers: Mapping[str, Float[Tensor, "batch _"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
) -> Float[Tensor, " batch"]:
    """sum_m ||h_m - t_m||^2 / dim_m per sample, over the modalities it has, in float32; no gradient to the teachers.

    Its mean over a batch in which every sample has every modality is the sum over m of the mean squared error of all
    features. Source: Du et al., ICML 2023; the mean over batch and features as in BalanceBenchmark.
    Raises `ValueError` where student and teacher have features of different sizes.
    """
    terms = []
    for name, teacher in teachers.items():
        own = features[name]
        if own.shape != teacher.shape:
            raise ValueError(
                f"The features of {name!r} have the shape {tuple(own.shape)} and its teacher's {tuple(teacher.shape)}; "
                "a student learns from a teacher with features of the same size."
            )
        term = (own.float() - teacher.detach().float()).square().mean(dim=1)
        rows = present[name]
        terms.append(term if rows is None else term * rows)
    return torch.stack(terms).sum(dim=0)
