"""A batch through one encoder per modality."""

from collections.abc import Mapping
from typing import cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from awase.fusion.rows import encode_rows, presence_of
from awase.types import Batch, Encoded, Inputs, map_inputs


def encode_batch(
    encoders: nn.ModuleDict, batch: Batch, known: Mapping[str, Encoded] | None = None
) -> dict[str, Encoded]:
    """Each modality's features; rows of samples that lack it are zero, and the encoder never sees them.

    A modality that the batch does not have at all is absent from every sample; an empty batch, a process's share of a
    small one, gives empty features. `known` are features that need not be computed.
    """
    encoded = dict(known or {})
    for name, encoder in encoders.items():
        if name in encoded:
            continue
        if name not in batch.inputs:
            dim = cast(int, encoder.dim)
            encoded[name] = Encoded(torch.zeros(len(batch), dim, device=batch.index.device))
            continue
        rows = presence_of(batch, name) if len(batch) else batch.present[name]
        encoded[name] = encode_rows(encoder, batch.inputs[name], rows)
    return encoded


def encode_candidates(encoder: nn.Module, inputs: Inputs, mask: Bool[Tensor, "batch candidates"]) -> Encoded:
    """The features of every candidate of every sample, a row each, sample after sample; zeros where there is none."""
    return encode_rows(encoder, map_inputs(inputs, lambda value: value.flatten(0, 1)), mask.flatten())


def first_candidate(encoded: Encoded, mask: Bool[Tensor, "batch candidates"]) -> Encoded:
    """Of the features of all candidates those of each sample's first real one; of none, its first row."""
    rows = first_rows(mask)
    tokens, real = encoded.tokens, encoded.mask
    return Encoded(
        encoded.pooled.index_select(0, rows),
        None if tokens is None else tokens.index_select(0, rows),
        None if real is None else real.index_select(0, rows),
        encoded.grid,
    )


def first_rows(mask: Bool[Tensor, "batch candidates"]) -> Int[Tensor, " batch"]:
    """Where each sample's first real candidate is among the candidates of all samples."""
    return torch.arange(len(mask), device=mask.device) * mask.shape[1] + mask.int().argmax(dim=1)


def presence(batch: Batch, modalities: tuple[str, ...]) -> dict[str, Bool[Tensor, " batch"] | None]:
    """Per modality which samples have it; None: all of them."""
    return {name: presence_of(batch, name) for name in modalities}
