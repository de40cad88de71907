"""A user's own module as an encoder of one block."""

from typing import Any

import torch
from torch import Tensor, nn

from awase.encoders.blocks import BlockEncoder
from awase.types import Encoded, Inputs


class _Own(nn.Module):
    """The whole module is the only block; `Encoded` passes between block and head as named tensors."""

    def __init__(self, module: nn.Module, dim: int) -> None:
        super().__init__()
        self.module = module
        self.dim = dim
        self.block_names: tuple[str, ...] = ("module",)
        self.stem_names: tuple[str, ...] = ()

    def stem(self, inputs: Inputs) -> Inputs:
        return inputs

    def block(self, index: int, hidden: Inputs) -> dict[str, Tensor]:
        return _named(self.module(hidden))

    def head(self, hidden: dict[str, Tensor]) -> Encoded:
        return Encoded(hidden["pooled"], hidden.get("tokens"), hidden.get("mask"))


def _named(output: Any) -> dict[str, Tensor]:
    if isinstance(output, Tensor) and output.dim() == 2:
        return {"pooled": output}
    if isinstance(output, Encoded):
        named = {"pooled": output.pooled, "tokens": output.tokens, "mask": output.mask}
        return {name: value for name, value in named.items() if value is not None}
    given = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
    raise ValueError(f"An encoder of your own must return a tensor (batch, dim) or an awase Encoded; it gave {given}.")


def wrap(module: nn.Module, kind: str, input_shape: tuple[int, ...]) -> BlockEncoder:
    """`module` with prefix and suffix. Its attribute `dim` is believed; without one it is run once on zeros.

    Raises `ValueError` where it returns neither a tensor (batch, dim) nor an `Encoded`.
    """
    dim = getattr(module, "dim", None)
    return BlockEncoder(_Own(module, dim if isinstance(dim, int) else _dim_of(module, kind, input_shape)))


def _dim_of(module: nn.Module, kind: str, input_shape: tuple[int, ...]) -> int:
    inputs: Inputs = torch.zeros(1, *input_shape)
    if kind == "text":
        ids = torch.zeros(1, *input_shape, dtype=torch.long)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    modes = {m: m.training for m in module.modules()}
    module.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        dim = _named(module(inputs))["pooled"].shape[1]
    for m, training in modes.items():
        m.training = training
    return dim
