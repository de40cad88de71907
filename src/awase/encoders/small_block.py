"""The transformer block of the small built-in encoders."""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from awase.encoders.heads import join_heads, key_mask, split_heads

Mask = Bool[Tensor, "batch tokens"] | None


class Attention(nn.Module):
    """Self-attention with separate `q`, `k`, `v` and `out` projections."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "batch tokens dim"], mask: Mask, last: int | None = None) -> Tensor:
        """What each token, or each of the last `last`, takes from all tokens that `mask` marks (None: from all)."""
        asking = x if last is None else x[:, -last:]
        q, k, v = split_heads(self.num_heads, self.q(asking), self.k(x), self.v(x))
        result: Tensor = self.out(join_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask(mask))))
        return result


class Block(nn.Module):
    """Attention and a feed-forward layer, each after a layer norm and beside a skip connection."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch tokens dim"], mask: Mask, last: int | None = None) -> Tensor:
        """All tokens, or the last `last` of them, after the block."""
        attended = self.dropout(self.attention(self.norm1(x), mask, last))
        x = (x if last is None else x[:, -last:]) + attended
        result: Tensor = x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))
        return result
