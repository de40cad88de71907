"""A small vision transformer of pictures, spectrograms, video and flow that trains from random weights on a CPU."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awase.encoders.blocks import BlockEncoder
from awase.encoders.request import Request
from awase.encoders.small_block import Block
from awase.types import Encoded, Tokens

_MOVING = ("video", "flow")
_MOST_PATCHES = 8


class _SmallVit(nn.Module):
    """Patches (of video and flow: over `frames` frames) with learned positions, blocks, a layer norm, the mean.

    Every sample is filled up with zeros, at the end of each side, to a multiple of the patch.
    """

    def __init__(self, shape: tuple[int, ...], patch: tuple[int, int, int], dim: int, blocks: list[nn.Module]) -> None:
        super().__init__()
        frames, channels, height, width = shape
        self.patch = patch
        self.patches = nn.Conv3d(channels, dim, patch, stride=patch)
        counts = (-(-side // step) for side, step in zip((frames, height, width), patch, strict=True))
        self.position = nn.Parameter(torch.randn(math.prod(counts), dim) * 0.02)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim)
        self.dim = dim
        self.block_names = tuple(f"blocks.{i}" for i in range(len(blocks)))
        self.stem_names: tuple[str, ...] = ("patches",)
        self.passes_tokens = True
        self.word_embeddings = None

    def stem(self, inputs: Tensor) -> Tensor:
        clips = inputs.transpose(1, 2) if inputs.dim() == 5 else inputs.unsqueeze(2)  # (batch, channels, time, h, w)
        sides = zip(reversed(clips.shape[2:]), reversed(self.patch), strict=True)
        filled = F.pad(clips, [pad for side, step in sides for pad in (0, -side % step)])
        tokens: Tensor = self.patches(filled).flatten(2).transpose(1, 2)
        return tokens + self.position

    def block(self, index: int, hidden: Tensor) -> Tensor:
        result: Tensor = self.blocks[index](hidden, None)
        return result

    def head(self, hidden: Tensor) -> Encoded:
        tokens = self.norm(hidden)
        return Encoded(tokens.mean(1), tokens)

    def read(self, hidden: Tensor) -> Tokens:
        return Tokens(hidden)

    def write(self, tokens: Tokens) -> Tensor:
        return tokens.values

    def last_rows(self, index: int, tokens: Tokens, count: int) -> Tensor:
        rows: Tensor = self.blocks[index](tokens.values, None, count)
        return rows

    def finish(self, tokens: Tokens) -> Encoded:
        return self.head(tokens.values)


def small_vit(
    request: Request,
    *,
    dim: int = 128,
    depth: int = 2,
    num_heads: int = 4,
    dropout: float = 0.1,
    patch: int | None = None,
    frames: int = 2,
) -> BlockEncoder:
    """A pre-norm transformer over patches, pooled by their mean; width and depth are those of `small_transformer`.

    A patch has `patch` x `patch` places (None: the smallest power of two with at most 8 patches along a side) and, of
    video and flow, `frames` frames. Raises `ValueError` for waveforms and where the heads do not divide `dim`.
    """
    request.need("small_vit", ("image", "audio", *_MOVING))
    moving = request.kind in _MOVING
    meaning = "(frames, channels, height, width)" if moving else "(channels, height, width), for audio a spectrogram"
    request.need_rank("small_vit", 4 if moving else 3, meaning)
    if dim % num_heads:
        raise ValueError(f"{num_heads} heads do not divide {dim} dimensions; choose a divisor of dim.")
    shape = request.input_shape if moving else (1, *request.input_shape)
    side = patch or 2 ** max(0, math.ceil(math.log2(max(shape[2:]) / _MOST_PATCHES)))
    blocks: list[nn.Module] = [Block(dim, num_heads, dropout) for _ in range(depth)]
    return BlockEncoder(_SmallVit(shape, (frames if moving else 1, side, side), dim, blocks))
