"""DAVEnet of log-mel spectrograms: residual convolutions over time, and their mean over the real frames."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from awase.encoders.blocks import BlockEncoder
from awase.encoders.masks import masked_mean
from awase.encoders.request import Request
from awase.types import Encoded, Inputs

POOLINGS = ("masked", "reference")
KERNEL = 9

# Channels of each stage, and its number of residual blocks.
VARIANTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "davenet": ((128, 256, 512, 1024), (2, 2, 2, 2)),
    "davenet_v2": ((128, 256, 512, 1024, 2048, 4096), (2, 2, 1, 1, 1, 1)),
}


def _as_image(hidden: Float[Tensor, "batch frames channels"]) -> Float[Tensor, "images channels rows columns"]:
    """A view whose columns are the frames, channels last.

    On a CPU all clips are rows of one image, which convolutions run through fastest (`benchmarks/davenet.py`);
    elsewhere a clip is an image of one row. A kernel of height 1 gives the same for both.
    """
    if hidden.device.type == "cpu":
        return hidden.permute(2, 0, 1).unsqueeze(0)
    return hidden.transpose(1, 2).unsqueeze(2)


def _from_image(image: Float[Tensor, "images channels rows columns"]) -> Float[Tensor, "batch frames channels"]:
    return image.permute(0, 2, 3, 1).flatten(0, 1)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Over time alone, without bias; weights normal with variance 2 / (kernel x outputs)."""
    layer = nn.Conv2d(inputs, outputs, (1, kernel), (1, stride), (0, kernel // 2), bias=False)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (kernel * outputs)))
    return layer


class _Stem(nn.Module):
    """All bins of a frame to `outputs` channels: the published kernel of (bins x 1) is a product per frame."""

    def __init__(self, num_bins: int, outputs: int) -> None:
        super().__init__()
        self.conv = _convolution(num_bins, outputs, 1)
        nn.init.normal_(self.conv.weight, std=math.sqrt(2 / (num_bins * outputs)))
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, spectrograms: Float[Tensor, "batch bins frames"]) -> Float[Tensor, "batch frames channels"]:
        frames = spectrograms.transpose(1, 2).contiguous()
        return _from_image(F.relu(self.bn(self.conv(_as_image(frames))), inplace=True))


class _Residual(nn.Module):
    """Two convolutions of kernel 9 beside a skip connection; the first has the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, outputs, KERNEL, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _convolution(outputs, outputs, KERNEL)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.skip = None if same else _convolution(inputs, outputs, 1, stride)
        self.skip_bn = None if same else nn.BatchNorm2d(outputs)

    def forward(self, hidden: Float[Tensor, "batch frames inputs"]) -> Float[Tensor, "batch shorter outputs"]:
        x = _as_image(hidden)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        beside = x if self.skip is None or self.skip_bn is None else self.skip_bn(self.skip(x))
        return _from_image(F.relu(self.bn2(self.conv2(y)) + beside, inplace=True))


class _Davenet(nn.Module):
    """`stem`, blocks and pooling; what passes between them is `hidden` (batch, frames, channels) and `num_frames`."""

    def __init__(self, num_bins: int, widths: Sequence[int], depths: Sequence[int], pooling: str) -> None:
        super().__init__()
        self.first = _Stem(num_bins, widths[0])
        inputs = [widths[0], *widths]
        self.blocks = nn.ModuleList(
            _Residual(width if index else inputs[stage], width, 1 if index else 2)
            for stage, (width, depth) in enumerate(zip(widths, depths, strict=True))
            for index in range(depth)
        )
        self.pooling = pooling
        self.reduction = 2 ** len(widths)
        self.dim = widths[-1]
        self.block_names = tuple(f"blocks.{i}" for i in range(len(self.blocks)))
        self.stem_names: tuple[str, ...] = ("first",)

    def stem(self, inputs: Inputs) -> dict[str, Tensor]:
        named = {"values": inputs} if isinstance(inputs, Tensor) else dict(inputs)
        values = named.pop("values")
        spectrograms = values.flatten(1, -2).to(self.first.conv.weight.dtype)  # (batch, bins, frames)
        return {"hidden": self.first(spectrograms), **named}

    def block(self, index: int, hidden: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**hidden, "hidden": self.blocks[index](hidden["hidden"])}

    def head(self, hidden: dict[str, Tensor]) -> Encoded:
        tokens = hidden["hidden"]
        if "num_frames" not in hidden:
            return Encoded(tokens.mean(1), tokens)
        mask = frame_mask(hidden["num_frames"], self.reduction, tokens.shape[1])
        everything = self.pooling == "reference" and self.training
        return Encoded(tokens.mean(1) if everything else masked_mean(tokens, mask), tokens, mask)


def frame_mask(num_frames: Int[Tensor, " batch"], reduction: int, length: int) -> Tensor:
    """Which of `length` output frames lie within the real input frames: the first max(1, floor(n / reduction)).

    (batch, length) bool. A clip of no frames keeps its first, so that a mean over it is defined.
    """
    real = torch.div(num_frames, reduction, rounding_mode="floor").clamp(1, length)
    return torch.arange(length, device=num_frames.device) < real[:, None]


def davenet(
    request: Request,
    *,
    variant: str = "davenet",
    widths: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    pooling: str = "masked",
    statistics_rows: int | None = None,
) -> BlockEncoder:
    """ResDAVEnet (Harwath et al., ICLR 2020) on spectrograms, as AVLnet and MCN train it from random weights.

    A product over the 40 bins of each frame, then stages of residual blocks with kernel 9 over time, each stage halving
    the frames (rounded up): 1000 frames become 63 tokens of 1024, with 44.67 M parameters and 3.995 G multiply-adds.
    `variant="davenet_v2"` has the six stages of Everything at Once (64 times fewer frames, 4096 channels); `widths` and
    `blocks`, a number per stage, replace those of the variant.

    The input is a spectrogram, or named tensors: `values`, and `num_frames` (batch,), how many frames of each clip are
    not padding. The pooled vector is the mean over the first max(1, floor(num_frames / 2^stages)) tokens, in training
    and in evaluation. `pooling="reference"` does as the published code: in training the mean over all tokens, with
    those of padding. (It divides by round(frames / tokens), which is 2^stages = 16 from 450 frames on.) Without
    `num_frames` every token counts.

    `statistics_rows`: so many clips at a time pass through the network, each group with batch statistics of its own, as
    on the devices of the published training (1024 clips on each of four). With `enable_checkpointing()` a group's
    activations are computed again in the backward pass, so that memory holds one group. Every group moves the running
    statistics, where the published training kept those of the first device alone.

    Raises `ValueError` for waveforms and for unknown or impossible settings.
    """
    request.need("davenet", ("audio", "array"))
    if len(request.input_shape) not in (2, 3) or math.prod(request.input_shape[:-2]) != 1:
        raise ValueError(
            f"The encoder 'davenet' takes spectrograms of shape (1, bins, frames) or (bins, frames); got "
            f"{request.input_shape}. Choose a representation of 40 bins, for example log_mel_40."
        )
    if pooling not in POOLINGS:
        raise ValueError(f"The pooling of 'davenet' is 'masked' or 'reference', not {pooling!r}.")
    sizes = _sizes(variant, widths, blocks)
    return BlockEncoder(_Davenet(request.input_shape[-2], *sizes, pooling), rows=statistics_rows)


def _sizes(
    variant: str, widths: Sequence[int] | None, blocks: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if variant not in VARIANTS:
        raise ValueError(f"No variant of 'davenet' is called {variant!r}; there are {', '.join(VARIANTS)}.")
    published = VARIANTS[variant]
    chosen = tuple(published[0] if widths is None else widths), tuple(published[1] if blocks is None else blocks)
    if len(chosen[0]) != len(chosen[1]) or min(chosen[0] + chosen[1], default=0) < 1:
        raise ValueError(
            f"'davenet' needs a width and a number of blocks for every stage, each at least 1; got widths "
            f"{list(chosen[0])} and blocks {list(chosen[1])}."
        )
    return chosen
