"""Attention heads as a dimension of their own."""

from jaxtyping import Bool, Float
from torch import Tensor


def split_heads(num_heads: int, *projected: Float[Tensor, "batch _ dim"]) -> tuple[Tensor, ...]:
    """Each of the projections as (batch, heads, tokens, head dim)."""
    return tuple(x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in projected)


def join_heads(mixed: Float[Tensor, "batch heads tokens head"]) -> Tensor:
    """The heads one after the other: (batch, tokens, dim)."""
    return mixed.transpose(1, 2).flatten(2)


def key_mask(mask: Bool[Tensor, "batch tokens"] | None) -> Bool[Tensor, "batch 1 1 tokens"] | None:
    """The mask of real tokens as every head and every query sees it."""
    return None if mask is None else mask[:, None, None, :]
