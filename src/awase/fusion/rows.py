"""Encoding only the samples that have a modality."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from awase.types import Batch, Encoded, Inputs, map_inputs

Rows = Int[Tensor, " rows"] | None
"""Numbers of samples; None: all of them."""


def presence_of(batch: Batch, name: str) -> Bool[Tensor, " batch"] | None:
    """Which samples have the modality: none where the batch does not know it; None: all of them."""
    if name in batch.complete:
        return None
    nowhere = torch.zeros(len(batch), dtype=torch.bool, device=batch.index.device)
    return batch.present.get(name, nowhere)


def rows_with(batch: Batch, name: str) -> Rows:
    """The samples that have the modality."""
    present = presence_of(batch, name)
    return None if present is None else present.nonzero().squeeze(1)


def take(values: Tensor, rows: Rows) -> Tensor:
    """These rows of the values."""
    return values if rows is None else values.index_select(0, rows)


def take_inputs(inputs: Inputs, rows: Rows) -> Inputs:
    """These rows of a modality's inputs."""
    return inputs if rows is None else map_inputs(inputs, lambda value: value.index_select(0, rows))


def put(values: Tensor, rows: Rows, size: int) -> Tensor:
    """`size` rows with the values in these, zeros elsewhere."""
    return values if rows is None else values.new_zeros(size, *values.shape[1:]).index_copy(0, rows, values)


def put_encoded(encoded: Encoded, rows: Rows, size: int) -> Encoded:
    """The encoding of `size` samples of which these have one."""
    if rows is None:
        return encoded
    tokens, mask = encoded.tokens, encoded.mask
    return Encoded(
        put(encoded.pooled, rows, size),
        None if tokens is None else put(tokens, rows, size),
        None if mask is None else put(mask, rows, size),
        encoded.grid,
    )


def encode_rows(encoder: nn.Module, inputs: Inputs, rows: Bool[Tensor, " batch"] | None) -> Encoded:
    """`encoder(inputs)` of the rows given, zeros elsewhere; `rows=None` means all.

    Raises nothing for no row at all: the features of one row of zeros, in evaluation mode, give the shape.
    """
    if rows is None:
        encoded: Encoded = encoder(inputs)
        return encoded
    chosen = rows.nonzero().squeeze(1)  # (rows,)
    some: Encoded = encoder(take_inputs(inputs, chosen)) if len(chosen) else _no_rows(encoder, inputs)
    return put_encoded(some, chosen, len(rows))


def _no_rows(encoder: nn.Module, inputs: Inputs) -> Encoded:
    """What the encoder gives for no row."""
    one = encode_zeros(encoder, inputs)
    tokens, mask = one.tokens, one.mask
    return Encoded(one.pooled[:0], None if tokens is None else tokens[:0], None if mask is None else mask[:0], one.grid)


def encode_zeros(encoder: nn.Module, inputs: Inputs) -> Encoded:
    """The features of one row of zeros, masks among named tensors being ones: `inputs` give its shape.

    In evaluation mode and without gradient: nothing learns from it, and no statistic moves.
    """
    with evaluating(encoder), torch.no_grad():
        encoded: Encoded = encoder(_zero_row(inputs))
    return encoded


def _zero_row(inputs: Inputs) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs.new_zeros(1, *inputs.shape[1:])
    named: Mapping[str, Tensor] = inputs
    return {
        name: value.new_ones(1, *value.shape[1:]) if name.endswith("mask") else value.new_zeros(1, *value.shape[1:])
        for name, value in named.items()
    }


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards each module's own mode: frozen parts stand in it inside a training model."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
