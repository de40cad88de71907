"""One modality under several keys: the part below the first adapter runs once, what is above once per key."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from awase.adapters import Bank
from awase.encoders.blocks import BlockEncoder
from awase.fusion.rows import encode_zeros, put, put_encoded, take_inputs
from awase.models.common_input import project_common
from awase.models.parts import ADAPTER_MARK
from awase.types import Below, Encoded, Inputs, map_inputs

Execution = Literal["batched", "loop", "cached"]


def cut_below_adapters(encoder: BlockEncoder) -> None:
    """Cuts a `BlockEncoder` below its first block with an adapter; one whose stem has any is not cut."""
    adapted = Bank(encoder).layer_names()
    inside = [
        number
        for number, block in enumerate(encoder.block_names)
        if any(name == block or name.startswith(f"{block}.") for name in adapted)
    ]
    everywhere = all(any(name.startswith(f"{encoder.block_names[n]}.") for n in inside) for name in adapted)
    encoder.cut = min(inside) if inside and everywhere else 0


def encode_keys(
    encoder: BlockEncoder,
    inputs: Inputs | Below,
    rows: Bool[Tensor, " batch"] | None,
    keys: Sequence[str],
    *,
    execution: Execution = "batched",
    apart: bool = False,
) -> tuple[Encoded, Float[Tensor, "keys batch dim"]]:
    """(the encoding without adapters, the pooled features under every key); zeros where `rows` says that none is there.

    `batched` runs all keys in one pass of as many copies of the rows, `loop` one after the other: the same numbers.
    Given what lies `Below` the adapters instead of inputs, only the keys' own passes are left.
    `apart`: the losses of keys reach adapters alone, not the encoder's own parameters. Batch norms that train take the
    batch's statistics for the encoding without adapters, and their running ones under a key.
    """
    chosen = None if rows is None else rows.nonzero().squeeze(1)
    size = 0 if rows is None else len(rows)
    if chosen is not None and len(chosen) == 0:
        nobody = inputs.shared if isinstance(inputs, Below) else _zeros(encoder, inputs, size)
        return nobody, nobody.pooled.expand(len(keys), *nobody.pooled.shape)
    if isinstance(inputs, Below):
        hidden, shared = take_inputs(inputs.hidden, chosen), inputs.shared
    else:
        hidden = encoder.prefix(take_inputs(inputs, chosen))
        shared = put_encoded(encoder.suffix(hidden), chosen, size)
    bank = Bank(encoder)
    with _standing_still(encoder) if apart else nullcontext(), _running_statistics(encoder):
        hidden = map_inputs(hidden, lambda value: value.detach() if apart else value)
        if execution == "loop":
            pooled = torch.cat([_under(bank, key, encoder, hidden) for key in keys])
        else:
            copies = map_inputs(hidden, lambda value: value.repeat(len(keys), *[1] * (value.dim() - 1)))
            with bank.mixed(keys):
                pooled = encoder.suffix(copies).pooled  # (keys * rows, dim)
    parts = pooled.unflatten(0, (len(keys), -1))
    every = torch.stack([put(part, chosen, size) for part in parts]) if chosen is not None else parts
    return shared, every


def project_keys(
    head: nn.Module,
    features: Float[Tensor, "keys batch dim"] | Float[Tensor, "batch dim"],
    keys: Sequence[str],
    *,
    execution: Execution = "batched",
    apart: bool = False,
) -> Float[Tensor, "keys batch out"]:
    """The head's output for the features under every key, with that key's adapter where the head has adapters.

    Without a dimension of keys, the features are the same under all, and what no key changes is computed once.
    """
    bank = Bank(head)
    with _standing_still(head) if apart else nullcontext():
        if features.dim() == 2:
            common = project_common(head, features, keys) if execution == "batched" else None
            if common is not None:
                return common
            features = features.expand(len(keys), *features.shape)
        if not bank.keys():
            projected: Tensor = head(features.flatten(0, 1))
        elif execution == "loop":
            outputs = []
            for key, part in zip(keys, features, strict=True):
                with bank.mixed((key,)):
                    outputs.append(head(part))
            projected = torch.cat(outputs)
        else:
            with bank.mixed(keys):
                projected = head(features.flatten(0, 1))
    parts: Tensor = projected.unflatten(0, (len(keys), -1))
    return parts


def _zeros(encoder: BlockEncoder, inputs: Inputs, size: int) -> Encoded:
    """The encoding of samples none of which has the modality."""
    pooled = encode_zeros(encoder, inputs).pooled
    return Encoded(pooled.new_zeros(size, pooled.shape[1]))


def _under(bank: Bank, key: str, encoder: BlockEncoder, hidden: Inputs) -> Tensor:
    with bank.mixed((key,)):
        encoded: Encoded = encoder.suffix(hidden)
    return encoded.pooled


@contextmanager
def _standing_still(module: nn.Module) -> Iterator[None]:
    """What runs inside gives no gradient to parameters other than adapters'."""
    own = [p for name, p in module.named_parameters() if p.requires_grad and ADAPTER_MARK not in f".{name}"]
    for parameter in own:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in own:
            parameter.requires_grad_(True)


@contextmanager
def _running_statistics(module: nn.Module) -> Iterator[None]:
    training = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in training:
        norm.eval()
    try:
        yield
    finally:
        for norm in training:
            norm.train()
