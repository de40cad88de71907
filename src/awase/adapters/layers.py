"""Layers that add an adapter's product to their own output, and the change of a layer into one and back.

A layer becomes adapted in place: the object, its parameters and their names stay, only its class changes, and the
adapters' parameters appear below `lora.<key>`. So whatever refers to the layer goes on working, and removing the last
adapter gives back the class it had.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awase import products
from awase.adapters.adapter import Adapter, Adapters, Switch, like
from awase.adapters.frozen_linear import frozen_linear
from awase.adapters.frozen_mixed import frozen_mixed
from awase.adapters.mix import Mix, side_by_side, stacked


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
        if self.lora.mix is not None:
            return _mixed_linear(self, input, self.lora.mix)
        adapter = self.lora.acting
        if adapter is not None and _is_plain(self) and not _learns(self) and not drops(adapter):
            output: Tensor = frozen_linear(input, self.weight, self.bias, adapter.A, adapter.B, adapter.scale)
            return output
        output = base_output(self, input)
        if adapter is not None:
            hidden = F.linear(_dropped(adapter, input), like(adapter.A, input))
            output = output + F.linear(hidden, like(adapter.B, input) * adapter.scale)
        return output


def _mixed_linear(layer: LoraLinear, input: Tensor, mix: Mix) -> Tensor:
    """Rows with several adapters: each key's rows are one group, or, of many tokens, each row and its matrices."""
    if len(input) == 0:
        return base_output(layer, input)
    adapters = mix.adapters(layer.lora)
    low, high = stacked(adapters, layer.in_features, layer.out_features, input)
    if mix.index is not None and input.dim() == 2:
        of_key, stands = mix.segments(len(input), input.device)
        grouped = _dropped_of(adapters, input).index_select(0, of_key.flatten()).unflatten(0, of_key.shape)
        delta = torch.bmm(torch.bmm(grouped, low.transpose(1, 2)), high.transpose(1, 2))
        return base_output(layer, input) + delta.flatten(0, 1).index_select(0, stands)
    if mix.index is None:
        mix.places(len(input), input.device)  # refuses rows that are no equal blocks
    else:
        places = mix.places(len(input), input.device)
        low, high = low.index_select(0, places), high.index_select(0, places)
    grouped = input.reshape(len(low), -1, layer.in_features)  # (groups, rows, inputs)
    if _is_plain(layer) and not _learns(layer) and not any(one is not None and drops(one) for one in adapters):
        return frozen_mixed(grouped, layer.weight, layer.bias, low, high).view(*input.shape[:-1], -1)
    hidden = torch.bmm(_dropped_of(adapters, grouped), low.transpose(1, 2))
    output = base_output(layer, input)
    return output + torch.bmm(hidden, high.transpose(1, 2)).view(output.shape)


def base_output(layer: LoraLinear, input: Tensor) -> Tensor:
    """What the layer gave before it was adapted."""
    output: Tensor = layer.lora.original_class.forward(layer, input)
    return output


def _adapted_convolution(layer: "LoraConv1d | LoraConv2d | LoraConv3d", input: Tensor) -> Tensor:
    """The layer's output plus `scale` times a convolution to `rank` channels per group, then a 1 x 1 convolution."""
    output: Tensor = layer._conv_forward(input, layer.weight, layer.bias)
    pointwise = (F.conv1d, F.conv2d, F.conv3d)[layer.weight.dim() - 3]
    mix = layer.lora.mix
    if mix is not None:
        adapters = mix.adapters(layer.lora)
        both = side_by_side(adapters, layer.groups, input)
        hidden = both.own(layer._conv_forward(_dropped_of(adapters, input), both.a, None), mix, channel_dim=1)
        return output.add_(pointwise(hidden, both.b, groups=layer.groups))
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
        if mix is not None:
            adapters = mix.adapters(self.lora)
            both = side_by_side(adapters, 1, output)
            looked_up = F.embedding(input, both.a.t(), self.padding_idx)
            hidden = both.own(_dropped_of(adapters, looked_up), mix, channel_dim=-1)
            return output + F.linear(hidden, both.b).to(output.dtype)
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


def convert(layer: nn.Module, switch: Switch) -> None:
    """Makes `layer` an adapted one under a switch, without an adapter yet; its output stays the same.

    Raises `ValueError` for a layer whose class computes its output in its own way, or whose weight is not a parameter
    (weight normalisation): a low-rank product added to its output would not be an update of its weight.
    """
    base = next(kind for kind in ADAPTED if isinstance(layer, kind))
    if type(layer).forward not in (base.forward, products.Linear.forward) or "weight" not in layer._parameters:
        raise ValueError(
            f"A {type(layer).__name__} cannot take an adapter: it computes its output or its weight in its own way. "
            f"Name layers of the plain class {base.__name__} instead, or patterns that leave it out."
        )
    if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
        raise ValueError("An embedding with `max_norm` rewrites its weight and cannot take an adapter; leave it out.")
    layer.lora = Adapters(type(layer), switch)
    layer.__class__ = ADAPTED[base]


def restore(layer: nn.Module) -> None:
    """Gives `layer` back the class it had before `convert` and forgets its adapters."""
    held = adapters_of(layer)
    for key in held.names():
        held.drop(key)
    original = held.original_class
    del layer.lora
    layer.__class__ = original


def _is_plain(layer: LoraLinear) -> bool:
    return layer.lora.original_class.forward is nn.Linear.forward


def _learns(layer: nn.Linear) -> bool:
    tensors = (layer.weight, layer.bias)
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def drops(adapter: Adapter) -> bool:
    return adapter.training and adapter.dropout > 0


def _dropped(adapter: Adapter, input: Tensor) -> Tensor:
    return F.dropout(input, adapter.dropout) if drops(adapter) else input


def _dropped_of(adapters: Sequence[Adapter | None], input: Tensor) -> Tensor:
    """Dropout of adapters that are mixed; raises `ValueError` where they do not agree on it."""
    known = [adapter for adapter in adapters if adapter is not None]
    rates = sorted({adapter.dropout for adapter in known if drops(adapter)})
    if rates and (len(rates) > 1 or not all(drops(adapter) for adapter in known)):
        raise ValueError(
            f"Adapters in one batch share their dropout in training; these have {[a.dropout for a in known]}."
        )
    return _dropped(known[0], input)
