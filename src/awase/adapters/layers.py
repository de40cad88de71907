"""Layers that add an adapter's product to their own output, and the change of a layer into one and back.

A layer becomes adapted in place: the object, its parameters and their names stay, only its class changes, and the
adapters' parameters appear below `lora.<key>`. So whatever refers to the layer goes on working, and removing the last
adapter gives back the class it had.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awase.adapters.adapter import Adapter, Adapters, like
from awase.adapters.frozen_linear import frozen_linear
from awase.adapters.frozen_mixed import frozen_mixed
from awase.adapters.mix import own_channels, side_by_side, stacked


def adapters_of(layer: nn.Module) -> Adapters:
    """The adapters of an adapted layer; `TypeError` for any other module."""
    adapters = layer.lora
    if not isinstance(adapters, Adapters):
        raise TypeError(f"A {type(layer).__name__} has no adapters.")
    return adapters


class LoraLinear(nn.Linear):
    """`x W' + bias + scale (x A') B'`."""

    lora: Adapters

    def forward(self, input: Tensor) -> Tensor:
        if self.lora.mixes:
            return _mixed_linear(self, input)
        adapter = self.lora.acting
        if adapter is not None and not _learns(self) and not _drops(adapter):
            output: Tensor = frozen_linear(input, self.weight, self.bias, adapter.A, adapter.B, adapter.scale)
            return output
        output = F.linear(input, self.weight, self.bias)
        if adapter is not None:
            hidden = F.linear(_dropped(adapter, input), like(adapter.A, input))
            output = output + F.linear(hidden, like(adapter.B, input) * adapter.scale)
        return output


def _mixed_linear(layer: LoraLinear, input: Tensor) -> Tensor:
    """Rows with several adapters: of one vector per row all keys' products and a mask, else a product per group."""
    mix = layer.lora.mix
    assert mix is not None, "the layer mixes"
    adapters = mix.adapters(layer.lora)
    if mix.index is not None and input.dim() == 2:
        low, high, owners = side_by_side(adapters, 1, input)
        hidden = own_channels(F.linear(_dropped_of(layer, input), low), owners, mix, channel_dim=1)
        return F.linear(input, layer.weight, layer.bias) + F.linear(hidden, high)
    low, high = stacked(adapters, layer.in_features, layer.out_features, input)
    if mix.index is None:
        mix.places(len(input), input.device)  # refuses rows that are no equal blocks
    else:
        places = mix.places(len(input), input.device)
        low, high = low.index_select(0, places), high.index_select(0, places)
    grouped = input.reshape(len(low), -1, layer.in_features)  # (groups, rows, inputs)
    if _learns(layer) or any(adapter is not None and _drops(adapter) for adapter in adapters):
        hidden = torch.bmm(_dropped_of(layer, grouped), low.transpose(1, 2))
        output = F.linear(grouped, layer.weight, layer.bias) + torch.bmm(hidden, high.transpose(1, 2))
    else:
        output = frozen_mixed(grouped, layer.weight, layer.bias, low, high)
    return output.view(*input.shape[:-1], layer.out_features)


def _adapted_convolution(layer: "LoraConv1d | LoraConv2d | LoraConv3d", input: Tensor) -> Tensor:
    """The layer's output plus `scale` times a convolution to `rank` channels per group, then a 1 x 1 convolution."""
    output: Tensor = layer._conv_forward(input, layer.weight, layer.bias)
    pointwise = (F.conv1d, F.conv2d, F.conv3d)[layer.weight.dim() - 3]
    mix = layer.lora.mix
    if layer.lora.mixes and mix is not None:
        low, high, owners = side_by_side(mix.adapters(layer.lora), layer.groups, input)
        hidden = layer._conv_forward(_dropped_of(layer, input), low, None)
        return output.add_(pointwise(own_channels(hidden, owners, mix, channel_dim=1), high, groups=layer.groups))
    adapter = layer.lora.acting
    if adapter is None:
        return output
    hidden = layer._conv_forward(_dropped(adapter, input), like(adapter.A, input), None)
    delta = pointwise(hidden, like(adapter.B, input) * adapter.scale, groups=layer.groups)
    return output.add_(delta)


class LoraConv1d(nn.Conv1d):
    """A convolution plus its low-rank update; grouped ones have an `A` and a `B` per group."""

    lora: Adapters

    def forward(self, input: Tensor) -> Tensor:
        return _adapted_convolution(self, input)


class LoraConv2d(nn.Conv2d):
    """As `LoraConv1d`, in two dimensions."""

    lora: Adapters

    def forward(self, input: Tensor) -> Tensor:
        return _adapted_convolution(self, input)


class LoraConv3d(nn.Conv3d):
    """As `LoraConv1d`, in three dimensions."""

    lora: Adapters

    def forward(self, input: Tensor) -> Tensor:
        return _adapted_convolution(self, input)


class LoraEmbedding(nn.Embedding):
    """`W[i] + scale B A[:, i]`; the row of `padding_idx` gets no gradient."""

    lora: Adapters

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        mix = self.lora.mix
        if self.lora.mixes and mix is not None:
            low, high, owners = side_by_side(mix.adapters(self.lora), 1, output)
            looked_up = F.embedding(input, low.t(), self.padding_idx)
            hidden = own_channels(_dropped_of(self, looked_up), owners, mix, channel_dim=-1)
            return output + F.linear(hidden, high).to(output.dtype)
        adapter = self.lora.acting
        if adapter is None:
            return output
        rows = F.embedding(input, adapter.A.t(), self.padding_idx)
        delta = F.linear(_dropped(adapter, rows), adapter.B * adapter.scale)
        return output + delta.to(output.dtype)


ADAPTED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: LoraLinear,
    nn.Conv1d: LoraConv1d,
    nn.Conv2d: LoraConv2d,
    nn.Conv3d: LoraConv3d,
    nn.Embedding: LoraEmbedding,
}
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def is_adapted(module: nn.Module) -> bool:
    """Whether `module` is one of the layers above."""
    return type(module) in ADAPTED.values()


def convert(layer: nn.Module) -> None:
    """Makes `layer` an adapted one, without an adapter yet; its output stays the same.

    Raises `ValueError` for a layer whose class computes its output in its own way, or whose weight is not a parameter
    (weight normalisation): a low-rank product added to its output would not be an update of its weight.
    """
    base = next(kind for kind in ADAPTED if isinstance(layer, kind))
    if type(layer).forward is not base.forward or "weight" not in layer._parameters:
        raise ValueError(
            f"A {type(layer).__name__} cannot take an adapter: it computes its output or its weight in its own way. "
            f"Name layers of the plain class {base.__name__} instead, or patterns that leave it out."
        )
    if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
        raise ValueError("An embedding with `max_norm` rewrites its weight and cannot take an adapter; leave it out.")
    layer.lora = Adapters(type(layer))
    layer.__class__ = ADAPTED[base]


def restore(layer: nn.Module) -> None:
    """Gives `layer` back the class it had before `convert` and forgets its adapters."""
    original = adapters_of(layer).original_class
    del layer.lora
    layer.__class__ = original


def _learns(layer: nn.Linear) -> bool:
    tensors = (layer.weight, layer.bias)
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _drops(adapter: Adapter) -> bool:
    return adapter.training and adapter.dropout > 0


def _dropped(adapter: Adapter, input: Tensor) -> Tensor:
    return F.dropout(input, adapter.dropout) if _drops(adapter) else input


def _dropped_of(layer: nn.Module, input: Tensor) -> Tensor:
    """Dropout of the keys that are mixed, which all have the same (`Bank.mixed`)."""
    held = adapters_of(layer)
    assert held.mix is not None, "the layer mixes"
    adapter = next(one for one in held.mix.adapters(held) if one is not None)
    return _dropped(adapter, input)
