"""A small text encoder that trains from random weights in seconds."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from awase.encoders.blocks import BlockEncoder
from awase.encoders.masks import masked_mean, token_mask
from awase.encoders.request import Request
from awase.encoders.small_block import Block
from awase.encoders.words import VOCABULARY_SIZE
from awase.types import Encoded, Tokens, WordEmbeddings


class _SmallTransformer(nn.Module):
    """Token and position embeddings, blocks, a layer norm, and the mean over the real tokens."""

    def __init__(self, sizes: tuple[int, int], dim: int, depth: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        vocabulary_size, max_tokens = sizes
        self.token = nn.Embedding(vocabulary_size, dim)
        self.position = nn.Parameter(torch.randn(max_tokens, dim) * 0.02)
        self.blocks = nn.ModuleList(Block(dim, num_heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.token.weight, std=0.02)
        self.dim = dim
        self.block_names = tuple(f"blocks.{i}" for i in range(depth))
        self.stem_names: tuple[str, ...] = ("token",)
        self.passes_tokens = True
        self.num_positions = max_tokens
        self.num_segments = 0

    def stem(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        ids = inputs["input_ids"]
        embedded = self.token(ids) + self.position[: ids.shape[1]]
        return {"hidden": self.dropout(embedded), "mask": token_mask(inputs["attention_mask"])}

    def block(self, index: int, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"hidden": self.blocks[index](hidden["hidden"], hidden["mask"]), "mask": hidden["mask"]}

    def head(self, hidden: Mapping[str, Tensor]) -> Encoded:
        tokens = self.norm(hidden["hidden"])
        return Encoded(masked_mean(tokens, hidden["mask"]), tokens, hidden["mask"])

    @property
    def word_embeddings(self) -> WordEmbeddings:
        return self

    def words(self, ids: Int[Tensor, "batch tokens"]) -> Tensor:
        embedded: Tensor = self.token(ids)
        return embedded

    def place(
        self,
        values: Float[Tensor, "batch tokens dim"],
        positions: Int[Tensor, " tokens"],
        segments: Int[Tensor, " tokens"],
    ) -> Tensor:
        placed: Tensor = self.dropout(values + self.position[positions])
        return placed

    def read(self, hidden: Mapping[str, Tensor]) -> Tokens:
        return Tokens(hidden["hidden"], hidden["mask"])

    def write(self, tokens: Tokens) -> dict[str, Tensor]:
        assert tokens.mask is not None, "texts have a mask"
        return {"hidden": tokens.values, "mask": tokens.mask}

    def last_rows(self, index: int, tokens: Tokens, count: int) -> Tensor:
        rows: Tensor = self.blocks[index](tokens.values, tokens.mask, count)
        return rows

    def finish(self, tokens: Tokens) -> Encoded:
        return self.head(self.write(tokens))


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
