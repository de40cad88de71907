"""Vectors that were extracted before, as an encoder: nothing is computed, nothing learns."""

from torch import Tensor, nn
from torch.nn import functional as F

from awase.encoders.blocks import BlockEncoder
from awase.encoders.request import Request
from awase.types import Encoded


class _Features(nn.Module):
    """One block without parameters: the vector itself, or its direction."""

    def __init__(self, dim: int, normalise: bool) -> None:
        super().__init__()
        self.dim = dim
        self.normalise = normalise
        self.identity = nn.Identity()
        self.block_names: tuple[str, ...] = ("identity",)
        self.stem_names: tuple[str, ...] = ()

    def stem(self, inputs: Tensor) -> Tensor:
        return inputs if inputs.is_floating_point() else inputs.float()

    def block(self, index: int, hidden: Tensor) -> Tensor:
        passed: Tensor = self.identity(hidden)
        return F.normalize(passed, dim=-1) if self.normalise else passed

    def head(self, hidden: Tensor) -> Encoded:
        return Encoded(hidden)


def features(request: Request, *, normalise: bool = False) -> BlockEncoder:
    """The array itself, a vector (dim,), as the encoding; with `normalise` divided by its Euclidean length.

    For features that a frozen network gave before (ResNet-152 beside ResNeXt-101 in HowTo100M's layout). Zeros, as an
    absent sample has, stay zeros.
    """
    request.need("features", ("array",))
    request.need_rank("features", 1, "(dim,)")
    return BlockEncoder(_Features(request.input_shape[0], normalise))
