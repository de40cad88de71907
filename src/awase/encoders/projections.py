"""From an encoder's vector to the joint space of retrieval, and back."""

from collections.abc import Callable

from torch import nn

from awase.encoders.gated import GatedUnit
from awase.products import Linear

RECONSTRUCTION_WIDTH = 1024


def _gated_then_linear(in_dim: int, out_dim: int) -> nn.Module:
    return nn.Sequential(GatedUnit(in_dim, in_dim), Linear(in_dim, out_dim))


def _mlp(in_dim: int, out_dim: int) -> nn.Module:
    return nn.Sequential(Linear(in_dim, out_dim), nn.ReLU(), Linear(out_dim, out_dim))


PROJECTIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "linear": Linear,
    "gated": GatedUnit,
    "gated_then_linear": _gated_then_linear,
    "mlp": _mlp,
}


def build_projection(name: str, in_dim: int, out_dim: int) -> nn.Module:
    """A layer from (batch, in_dim) to (batch, out_dim), without normalisation.

    `linear`; `gated`, a `GatedUnit`; `gated_then_linear`, a `GatedUnit` of the input's width before the linear layer,
    which keeps the wide product out of half precision (audio in AVLnet and MCN); `mlp`, linear, ReLU, linear, the
    hidden layer as wide as the output. Raises `ValueError` that lists the names for another.
    """
    if name not in PROJECTIONS:
        raise ValueError(f"No projection is called {name!r}; there are {', '.join(sorted(PROJECTIONS))}.")
    return PROJECTIONS[name](in_dim, out_dim)


def reconstruction_head(dim: int, hidden: int = RECONSTRUCTION_WIDTH, out: int | None = None) -> nn.Sequential:
    """Linear(dim -> hidden), ReLU, Linear(hidden -> out), ReLU: what an encoder gave, from its joint embedding (MCN).

    `out` is `dim` where it is None. The last ReLU fits targets that are not negative.
    """
    last = Linear(hidden, dim if out is None else out)
    return nn.Sequential(Linear(dim, hidden), nn.ReLU(), last, nn.ReLU())
