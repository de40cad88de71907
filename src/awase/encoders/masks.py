"""Which tokens are real, and means over them."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def token_mask(
    attention_mask: Int[Tensor, "batch tokens"] | Bool[Tensor, "batch tokens"],
) -> Bool[Tensor, "batch tokens"]:
    """The boolean mask of real tokens, the first token always among them.

    A sample that lacks the text has a mask of zeros; attending to nothing would give NaN, which spreads through the
    gradient even where the row is not used.
    """
    mask = attention_mask.bool().clone()
    mask[:, 0] = True
    return mask


def masked_mean(
    tokens: Float[Tensor, "batch tokens dim"], mask: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch dim"]:
    """The mean of the tokens that `mask` marks; every row must mark at least one."""
    weight = mask.to(tokens.dtype)
    return torch.einsum("btd,bt->bd", tokens, weight) / weight.sum(1, keepdim=True)
