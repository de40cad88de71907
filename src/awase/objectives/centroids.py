"""Embeddings drawn to the centroid of their sample's cluster, away from the other centroids."""

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from awase.distributed import ALONE, World
from awase.objectives.presence import everyone, over_present, without_absent
from awase.products import product


def fused_mean(
    embeddings: Mapping[str, Float[Tensor, "batch dim"]], present: Mapping[str, Bool[Tensor, " batch"] | None]
) -> Float[Tensor, "batch dim"]:
    """The mean of the modalities that a sample has, in float32 at least; zeros for a sample without any."""
    total = reduce(add, [without_absent(rows, present[name]) for name, rows in embeddings.items()])
    return total / _num_present(embeddings, present, total).clamp_min(1)[:, None]


def centroid_contrast(
    embeddings: Mapping[str, Float[Tensor, "batch dim"]],
    centroids: Float[Tensor, "clusters dim"],
    labels: Int[Tensor, " batch"],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    *,
    margin: float = 0.001,
    of: Literal["modalities", "fused"] = "modalities",
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """-log softmax_k(x . c_k - margin [k = label])_label, the mean over the modalities x that a sample has.

    Raw dot products, no temperature, no gradient to the centroids. `of="fused"`: of the mean of the modalities instead.
    A sample with the label -1, or without any modality, is 0; the others are scaled such that the mean over all samples
    of all processes is the mean over them. Where every sample has all three modalities that is the
    (CE(v) + CE(a) + CE(t)) / 3 of MCN; where some are absent, each sample counts the same, whatever it has.
    Zero logits of K clusters: ln(1 + (K - 1) e^margin).
    Source: Chen et al., ICCV 2021, and the released code (its `--mean=1` is `of="fused"`).
    """
    if of == "fused":
        rows = fused_mean(embeddings, present)
        losses = _cross_entropy(rows, centroids, labels, margin)
        counts = _num_present(embeddings, present, rows)
    else:
        terms = []
        for name, embedding in embeddings.items():
            here = present[name]
            term = _cross_entropy(without_absent(embedding, here), centroids, labels, margin)
            terms.append(term if here is None else term * here)
        total = reduce(add, terms)
        counts = _num_present(embeddings, present, total)
        losses = total / counts.clamp_min(1)
    return over_present(losses, (labels >= 0) & (counts > 0), world)


def _num_present(
    embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor | None], like: Tensor
) -> Float[Tensor, " batch"]:
    """How many of the modalities each sample has."""
    masks = [everyone(rows, present[name]) for name, rows in embeddings.items()]
    return torch.stack(masks).sum(dim=0).to(like.dtype)


def _cross_entropy(
    rows: Float[Tensor, "batch dim"],
    centroids: Float[Tensor, "clusters dim"],
    labels: Int[Tensor, " batch"],
    margin: float,
) -> Float[Tensor, " batch"]:
    """With some label for the rows that have none."""
    logits = product(rows, centroids.detach().to(rows)).to(rows.dtype)
    places = labels.clamp_min(0)[:, None]
    with torch.no_grad():  # a constant: the gradient stays what it was
        logits.scatter_add_(1, places, logits.new_full(places.shape, -margin))
    return F.cross_entropy(logits, places.squeeze(1), reduction="none")
