"""A small text encoder that trains from random weights in seconds."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from awase.encoders.blocks import BlockEncoder
from awase.encoders.masks import masked_mean, token_mask
from awase.encoders.request import Request
from awase.encoders.words import VOCABULARY_SIZE
from awase.types import Encoded


class _Attention(nn.Module):
    """Self-attention with separate `q`, `k`, `v` and `out` projections."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "batch tokens dim"], mask: Bool[Tensor, "batch tokens"]) -> Tensor:
        q, k, v = (p(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for p in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        result: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return result


class _Block(nn.Module):
    """Attention and a feed-forward layer, each after a layer norm and beside a skip connection."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = _Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), mask))
        result: Tensor = x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))
        return result


class _SmallTransformer(nn.Module):
    """Token and position embeddings, blocks, a layer norm, and the mean over the real tokens."""

    def __init__(self, sizes: tuple[int, int], dim: int, depth: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        vocabulary_size, max_tokens = sizes
        self.token = nn.Embedding(vocabulary_size, dim)
        self.position = nn.Parameter(torch.randn(max_tokens, dim) * 0.02)
        self.blocks = nn.ModuleList(_Block(dim, num_heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.token.weight, std=0.02)
        self.dim = dim
        self.block_names = tuple(f"blocks.{i}" for i in range(depth))
        self.stem_names: tuple[str, ...] = ("token",)

    def stem(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        ids = inputs["input_ids"]
        embedded = self.token(ids) + self.position[: ids.shape[1]]
        return {"hidden": self.dropout(embedded), "mask": token_mask(inputs["attention_mask"])}

    def block(self, index: int, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"hidden": self.blocks[index](hidden["hidden"], hidden["mask"]), "mask": hidden["mask"]}

    def head(self, hidden: Mapping[str, Tensor]) -> Encoded:
        tokens = self.norm(hidden["hidden"])
        return Encoded(masked_mean(tokens, hidden["mask"]), tokens, hidden["mask"])


def small_transformer(
    request: Request,
    *,
    dim: int = 128,
    depth: int = 2,
    num_heads: int = 4,
    dropout: float = 0.1,
    vocabulary_size: int = VOCABULARY_SIZE,
) -> BlockEncoder:
    """A pre-norm transformer over hashed words (`words.WordTokenizer`), pooled by the mean over the real tokens."""
    request.need("small_transformer", ("text",))
    request.need_rank("small_transformer", 1, "(max_tokens,)")
    if dim % num_heads:
        raise ValueError(f"{num_heads} heads do not divide {dim} dimensions; choose a divisor of dim.")
    sizes = (vocabulary_size, request.input_shape[0])
    return BlockEncoder(_SmallTransformer(sizes, dim, depth, num_heads, dropout))
