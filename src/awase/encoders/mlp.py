"""A small network for arrays of fixed shape."""

import itertools
import math

from torch import Tensor, nn

from awase.encoders.blocks import BlockEncoder
from awase.encoders.request import Request
from awase.types import Encoded


class _Mlp(nn.Module):
    """Flatten, then layers of linear, layer norm, ReLU and dropout; each layer is a block."""

    def __init__(self, num_inputs: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        widths = [num_inputs] + [width] * depth
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU(), nn.Dropout(dropout))
            for a, b in itertools.pairwise(widths)
        )
        self.dim = width
        self.block_names = tuple(f"blocks.{i}" for i in range(depth))
        self.stem_names: tuple[str, ...] = ()

    def stem(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)

    def block(self, index: int, hidden: Tensor) -> Tensor:
        result: Tensor = self.blocks[index](hidden)
        return result

    def head(self, hidden: Tensor) -> Encoded:
        return Encoded(hidden)


def mlp(request: Request, *, width: int = 128, depth: int = 2, dropout: float = 0.1) -> BlockEncoder:
    """A multi-layer perceptron over the flattened array, with layer norm: `depth` blocks of `width` units."""
    request.need("mlp", ("array", "image", "audio"))
    return BlockEncoder(_Mlp(math.prod(request.input_shape), width, depth, dropout))
