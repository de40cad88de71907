"""Small convolutional encoders of pictures, spectrograms, video and flow that train from random weights on a CPU."""

import math
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from awase.encoders.blocks import BlockEncoder
from awase.encoders.frames import per_frame
from awase.encoders.request import Request
from awase.types import Encoded

Temporal = Literal["conv", "mean"]


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


class _Collapse(nn.Module):
    """Maps (batch, time, channels, ...) to one vector per time step, over all places; then a convolution over time."""

    def __init__(self, places: int, dim: int, temporal: Temporal, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(places, dim, bias=False)
        self.bn = nn.BatchNorm1d(dim)
        self.conv = nn.Conv1d(dim, dim, 3, padding=1, bias=False) if temporal == "conv" else None
        self.conv_bn = nn.BatchNorm1d(dim) if temporal == "conv" else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(self.dropout(x.flatten(2))).transpose(1, 2)  # (batch, dim, time)
        x = F.relu(self.bn(x))
        if self.conv is not None and self.conv_bn is not None:
            x = x + F.relu(self.conv_bn(self.conv(x)))
        return x.transpose(1, 2)  # (batch, time, dim)


class _SmallCnn(nn.Module):
    """A stem, residual blocks, and a last block that makes one vector per time step; their mean is the encoding.

    A picture has one time step. The frequency axis of a spectrogram is a place, its frames are time.
    """

    def __init__(self, stem: nn.Module, blocks: list[nn.Module], kind: str, dim: int, dropout: float) -> None:
        super().__init__()
        self.kind = kind
        self.stem_layers = stem
        self.blocks = nn.ModuleList(blocks)
        self.dropout = nn.Dropout(dropout)
        self.dim = dim
        self.block_names = tuple(f"blocks.{i}" for i in range(len(blocks)))
        self.stem_names: tuple[str, ...] = ("stem_layers",)

    def stem(self, inputs: Tensor) -> Tensor:
        if self.kind in ("video", "flow"):
            hidden: Tensor = self.stem_layers(inputs.transpose(1, 2))
            return hidden.transpose(1, 2)  # (batch, time, channels, height, width)
        still: Tensor = self.stem_layers(inputs)
        return still

    def block(self, index: int, hidden: Tensor) -> Tensor:
        block = self.blocks[index]
        if index < len(self.blocks) - 1:
            return per_frame(block, hidden) if hidden.dim() == 5 else block(hidden)
        result: Tensor = block(self._in_time(hidden))
        return result

    def _in_time(self, hidden: Tensor) -> Tensor:
        if hidden.dim() == 5:
            return hidden
        return hidden.permute(0, 3, 1, 2) if self.kind == "audio" else hidden.unsqueeze(1)

    def head(self, hidden: Tensor) -> Encoded:
        return Encoded(self.dropout(hidden.mean(1)), hidden)


def small_cnn(
    request: Request, *, width: int = 16, dim: int = 128, temporal: Temporal = "conv", dropout: float = 0.3
) -> BlockEncoder:
    """A convolutional network of some 0.2 M parameters; batch norm, and no pooling over places at its end.

    Video and flow begin with a convolution over three frames, so that motion is seen; pictures and spectrograms with
    one over places. Three blocks: two residual ones of 2 and 4 x `width` channels, and one that maps what is left of
    the places to `dim` values per time step. With `temporal="conv"` it ends with a convolution over three time steps.
    `dropout` is applied before that mapping and to the encoding. Tokens are the time steps. Small pictures are
    halved less often. Raises `ValueError` for waveforms.
    """
    request.need("small_cnn", ("image", "audio", "video", "flow"))
    moving = request.kind in ("video", "flow")
    meaning = "(frames, channels, height, width)" if moving else "(channels, height, width), for audio a spectrogram"
    request.need_rank("small_cnn", 4 if moving else 3, meaning)
    channels, *sides = request.input_shape[-3:]
    most = (4, 2) if request.kind == "audio" else (4, 4)  # a spectrogram keeps more of its time
    stem, pool, first, second = zip(*(_strides(side, m) for side, m in zip(sides, most, strict=True)), strict=True)
    rows, columns = (_halved(side, _halvings(side, m)) for side, m in zip(sides, most, strict=True))
    places = 4 * width * rows * (1 if request.kind == "audio" else columns)
    layers: list[nn.Module] = [_Residual(width, 2 * width, first), _Residual(2 * width, 4 * width, second)]
    layers.append(_Collapse(places, dim, temporal, dropout))
    return BlockEncoder(_SmallCnn(_stem(channels, width, (stem, pool), moving), layers, request.kind, dim, dropout))


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


def _stem(channels: int, width: int, strides: tuple[tuple[int, int], tuple[int, int]], moving: bool) -> nn.Module:
    stride, pool = strides
    if moving:
        conv3 = nn.Conv3d(channels, width, (3, 5, 5), stride=(1, *stride), padding=(1, 2, 2), bias=False)
        pool3 = nn.MaxPool3d((1, *pool), ceil_mode=True)
        return nn.Sequential(conv3, nn.BatchNorm3d(width), nn.ReLU(), pool3)
    conv = nn.Conv2d(channels, width, 5, stride=stride, padding=2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(pool, ceil_mode=True))
