"""Distances between the features or logits of a model that learns and those of a frozen one."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
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


def logit_distance(
    logits: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    *,
    temperature: float = 2.0,
    classes: Int[Tensor, " known"] | None = None,
) -> Float[Tensor, " batch"]:
    """T^2 KL(softmax(t / T) || softmax(z / T)) per sample, in float32 at least; no gradient to the teacher's t.

    Both softmaxes are over `classes` alone (None: all): those that the teacher was taught, so that nothing is learned
    from what it says about others. With the old model as teacher, on rows of new data, it is learning without
    forgetting. Raises `ValueError` for a temperature that is not above 0.
    Source: Li and Hoiem, ECCV 2016, there as cross entropy, whose gradient is the same; T^2 as Hinton et al., 2015.
    """
    if temperature <= 0:
        raise ValueError(f"The temperature is above 0; given: {temperature}.")
    own, old = (values if classes is None else values[:, classes] for values in (logits, teacher.detach()))
    ours, theirs = ((without_absent(values, None) / temperature).log_softmax(dim=1) for values in (own, old))
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(dim=1)


def _squared(own: Float[Tensor, "batch dim"], teacher: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    return (own - teacher).square().mean(dim=1)


def _cosine(own: Float[Tensor, "batch dim"], teacher: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    return 1 - F.cosine_similarity(own, teacher, dim=1)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cosine": _cosine, "squared": _squared}
