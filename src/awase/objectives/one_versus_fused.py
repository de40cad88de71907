"""Each modality of a set against the mean of the others."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from awase.distributed import ALONE, World
from awase.objectives.centroids import fused_mean
from awase.objectives.contrastive import info_nce
from awase.objectives.presence import all_of, any_of, without_absent
from awase.objectives.similarities import Scalar

CANCELLED = 1e-6
"""Unit vectors whose mean is shorter than this cancel each other, as far as float32 can tell."""


def one_versus_fused(
    embeddings: Mapping[str, Float[Tensor, "batch dim"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    *,
    temperature: Scalar = 0.07,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """(1/|S|) sum_m l(z_m, mean of the z_n that a sample has, n in S without m), l `info_nce`, z unit vectors.

    A sample takes part in the term of m where it has m and at least one other; elsewhere it is 0 in it and nobody's
    negative, and each term is the mean over those in it, as in `objectives.contrastive`. Of two modalities it is
    `info_nce` of them. Where the unit vectors of the others cancel each other, their mean has the cosine 0 to
    everything and no gradient. Raises `ValueError` for fewer than two modalities.
    Source: the terms (t, va), (v, ta), (a, tv) of Everything at Once (Shvetsova et al., CVPR 2022), with the mean in
    place of its fusion transformer.
    """
    if len(embeddings) < 2:
        raise ValueError(
            f"One against the others needs two modalities or more; given: {', '.join(embeddings) or 'none'}."
        )
    units = {name: F.normalize(without_absent(rows, present[name]), dim=1) for name, rows in embeddings.items()}
    terms = []
    for name, own in units.items():
        others = {other: rows for other, rows in units.items() if other != name}
        both = all_of([present[name], any_of(present[other] for other in others)])
        fused = _with_direction(fused_mean(others, present))
        terms.append(info_nce(own, fused, temperature=temperature, present=both, world=world))
    return torch.stack(terms).mean(dim=0)


def _with_direction(means: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """The means, zeros and constant where next to nothing is left: the gradient of a direction grows as 1 / length."""
    left = means.detach().norm(dim=1, keepdim=True) > CANCELLED
    return torch.where(left, means, torch.zeros_like(means))
