"""Small convolutional encoders of pictures, spectrograms, video and flow that train from random weights on a CPU."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awase.encoders.blocks import BlockEncoder
from awase.encoders.frames import per_frame
from awase.encoders.request import Request
from awase.types import Encoded

Temporal = Literal["aligned", "mean"]
_MOVING = ("video", "flow")


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside a skip connection; the first has the stride."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.skip_bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        beside = self.skip_bn(self.skip(F.avg_pool2d(x, self.stride, ceil_mode=True)))
        return F.relu(self.bn2(self.conv2(y)) + beside)


class _Steps(nn.Module):
    """Maps (batch, time, features) to `dim` values per time step, then convolves over three steps."""

    def __init__(self, features: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, dim, bias=False)
        self.bn = nn.BatchNorm1d(dim)
        self.conv = nn.Conv1d(dim, dim, 3, padding=1, bias=False)
        self.conv_bn = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(self.dropout(x)).transpose(1, 2)  # (batch, dim, time)
        x = F.relu(self.bn(x))
        x = x + F.relu(self.conv_bn(self.conv(x)))
        return x.transpose(1, 2)  # (batch, time, dim)


class _Join(nn.Module):
    """One vector of all time steps: a linear layer with a weight per step, batch norm, ReLU."""

    def __init__(self, num_steps: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_steps * dim, dim, bias=False)
        self.bn = nn.BatchNorm1d(dim)

    def forward(self, steps: Tensor) -> Tensor:
        return F.relu(self.bn(self.linear(steps.flatten(1))))


class _SmallCnn(nn.Module):
    """A stem, two residual blocks over places, and a block over time; what it gives is joined, or averaged.

    A picture has one time step. The frequency axis of a spectrogram is a place, its frames are time. Tensors lie
    channels last, which convolutions on a CPU run through 1.5 times faster.
    """

    def __init__(
        self, kind: str, layers: tuple[nn.Sequential, list[nn.Module]], join: nn.Module | None, dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.kind = kind
        stem, blocks = layers
        self.stem_layers = stem
        self.blocks = nn.ModuleList(blocks)
        self.join = join
        self.dropout = nn.Dropout(dropout)
        self.dim = dim
        self.block_names = tuple(f"blocks.{i}" for i in range(len(self.blocks)))
        self.stem_names: tuple[str, ...] = ("stem_layers",)

    def stem(self, inputs: Tensor) -> Tensor:
        if self.kind in _MOVING:
            # A clip of one channel is in both memory formats; pooling is three times faster in this one.
            hidden: Tensor = self.stem_layers[0](inputs.transpose(1, 2))
            hidden = hidden.contiguous(memory_format=torch.channels_last_3d)
            for layer in self.stem_layers[1:]:
                hidden = layer(hidden)
            return hidden.transpose(1, 2)  # (batch, time, channels, height, width)
        still: Tensor = self.stem_layers(inputs.contiguous(memory_format=torch.channels_last))
        return still

    def block(self, index: int, hidden: Tensor) -> Tensor:
        block = self.blocks[index]
        if index == len(self.blocks) - 1:
            result: Tensor = block(_in_time(hidden, self.kind))
            return result
        return per_frame(block, hidden) if self.kind in _MOVING else block(hidden)

    def head(self, hidden: Tensor) -> Encoded:
        pooled = hidden.mean(1) if self.join is None else self.join(hidden)
        return Encoded(self.dropout(pooled), hidden)


def _in_time(hidden: Tensor, kind: str) -> Tensor:
    """(batch, time, features): of video the mean over places, which may move; of others every place."""
    if kind in _MOVING:
        return hidden.mean((3, 4))
    return hidden.permute(0, 3, 1, 2).flatten(2) if kind == "audio" else hidden.flatten(1).unsqueeze(1)


def small_cnn(
    request: Request, *, width: int = 16, dim: int = 96, temporal: Temporal = "aligned", dropout: float = 0.0
) -> BlockEncoder:
    """A convolutional network of some 0.2 M parameters with batch norm.

    Video and flow begin with a convolution over three frames, so that motion is seen; pictures and spectrograms with
    one over places. Three blocks: two residual ones of 2 and 4 x `width` channels, and one that gives `dim` values
    per time step (the tokens) and convolves over three steps. With `temporal="aligned"` the encoding has a weight for
    each time step, which suits clips that are cut around an event; with `"mean"` it is their mean. `dropout` is
    applied before the last block and to the encoding. Small pictures are halved less often. Raises `ValueError` for
    waveforms.
    """
    request.need("small_cnn", ("image", "audio", *_MOVING))
    moving = request.kind in _MOVING
    meaning = "(frames, channels, height, width)" if moving else "(channels, height, width), for audio a spectrogram"
    request.need_rank("small_cnn", 4 if moving else 3, meaning)
    channels, *sides = request.input_shape[-3:]
    most = (4, 2) if request.kind == "audio" else (4, 4)  # a spectrogram keeps more of its time
    stem, pool, first, second = zip(*(_strides(side, m) for side, m in zip(sides, most, strict=True)), strict=True)
    places, steps = _places_and_steps(request, [_halvings(side, m) for side, m in zip(sides, most, strict=True)])
    first_layers = _stem(channels, width, (stem, pool), moving)
    blocks = [
        _Residual(width, 2 * width, first),
        _Residual(2 * width, 4 * width, second),
        _Steps(4 * width * places, dim, dropout),
    ]
    join = _Join(steps, dim) if temporal == "aligned" else None
    return BlockEncoder(_SmallCnn(request.kind, (first_layers, blocks), join, dim, dropout))


def _places_and_steps(request: Request, halvings: list[int]) -> tuple[int, int]:
    """How many places a time step has before the last block, and how many time steps there are."""
    if request.kind in _MOVING:
        return 1, request.input_shape[0]
    rows, columns = (_halved(s, n) for s, n in zip(request.input_shape[-2:], halvings, strict=True))
    return (rows, columns) if request.kind == "audio" else (rows * columns, 1)


def _halvings(side: int, most: int) -> int:
    """How often a side is halved: at most `most` times, and at least 3 places are left where there were 3."""
    return min(most, max(0, int(math.log2(side / 3)))) if side > 3 else 0


def _strides(side: int, most: int) -> tuple[int, int, int, int]:
    """The strides of the stem's convolution, its pooling and the two residual blocks along one side.

    The first residual block halves first, then the pooling, the second block and the stem.
    """
    number = _halvings(side, most)
    first, pool, second, stem = (2 if number > place else 1 for place in range(4))
    return stem, pool, first, second


def _halved(side: int, times: int) -> int:
    for _ in range(times):
        side = -(-side // 2)
    return side


def _stem(channels: int, width: int, strides: tuple[tuple[int, int], tuple[int, int]], moving: bool) -> nn.Sequential:
    # Pooling comes before the batch norm, which then has a quarter of the work.
    stride, pool = strides
    if moving:
        conv3 = nn.Conv3d(channels, width, (3, 5, 5), stride=(1, *stride), padding=(1, 2, 2), bias=False)
        return nn.Sequential(conv3, nn.MaxPool3d((1, *pool), ceil_mode=True), nn.BatchNorm3d(width), nn.ReLU())
    conv = nn.Conv2d(channels, width, 5, stride=stride, padding=2, bias=False)
    return nn.Sequential(conv, nn.MaxPool2d(pool, ceil_mode=True), nn.BatchNorm2d(width), nn.ReLU())
