"""Scores of queries against a gallery, never as one matrix: tiles in float32, chosen pairs in float64."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CPU_TILE_BYTES = 2**26
"""What a tile and everything made from it may take. Larger tiles leave the processor's cache and count slower."""
GPU_TILE_BYTES = 2**29
DEPTH = 512
"""So many products are summed by one matrix product; longer sums are added up from such, which rounds less."""


@dataclass(frozen=True)
class DotScores:
    """Dot products of every query with every item; with `scale`, the reciprocal norms of the items, their cosines.

    A cosine is not divided by the norm of its query, which changes no order within a query.
    """

    queries: Float[Tensor, "queries dim"]
    gallery: Float[Tensor, "items dim"]
    query_norms: Float[Tensor, " queries"]
    item_norms: Float[Tensor, " items"]
    scale: Float[Tensor, " items"] | None
    tile_bytes: int

    @property
    def side(self) -> int:
        """Rows and columns of a tile: 32 bytes for each of its scores and 16 for each number that they come from."""
        dim = 16.0 * self.queries.shape[1]
        return max(16, int(((dim * dim + 32 * self.tile_bytes) ** 0.5 - dim) / 32))

    @property
    def dtype(self) -> torch.dtype:
        """Of the tiles: float64 where an embedding has it, float32 otherwise."""
        double = torch.float64 in (self.queries.dtype, self.gallery.dtype)
        return torch.float64 if double else torch.float32

    def tile(
        self, rows: Int[Tensor, " rows"], columns: Int[Tensor, " columns"], dtype: torch.dtype
    ) -> Float[Tensor, "rows columns"]:
        """One matrix product; `rows` and `columns` ascend."""
        left, right = _take(self.queries, rows).to(dtype), _take(self.gallery, columns).to(dtype)
        if self.scale is not None:
            right = right * _take(self.scale, columns).to(dtype)[:, None]
        tile = left[:, :DEPTH] @ right[:, :DEPTH].T
        for start in range(DEPTH, left.shape[1], DEPTH):
            tile += left[:, start : start + DEPTH] @ right[:, start : start + DEPTH].T
        return tile

    def pairs(self, rows: Int[Tensor, " pairs"], columns: Int[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
        """The scores of single pairs, in float64, a few at a time."""
        result = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
        step = max(1, self.tile_bytes // (24 * max(1, self.queries.shape[1])))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            left, right = self.queries[rows[part]].double(), self.gallery[columns[part]].double()
            result[part] = (left * right).sum(1)
        return result if self.scale is None else result * self.scale[columns]

    def rounding(
        self, rows: Int[Tensor, " rows"], columns: Int[Tensor, " columns"], dtype: torch.dtype
    ) -> Float[Tensor, " rows"]:
        """How far, for each query, a score of these computed in `dtype` may lie from the exact one; in float64.

        |fl(q.g) - q.g| <= n u |q| |g| / (1 - n u) for a sum of depth n in any order (Higham 2002, section 3.1). Some
        units more are for the scale and the comparison, and the smallest normal number for products that fall below it.
        """
        dim, info = self.queries.shape[1], torch.finfo(dtype)
        depth = 8 + (dim if dtype == torch.float64 else min(dim, DEPTH) + dim // DEPTH)
        reach = self.item_norms[columns].max() if self.scale is None else self.item_norms.new_ones(())
        return 1.02 * depth * info.eps / 2 * reach * self.query_norms[rows] + dim * info.tiny


def dot_scores(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "items dim"],
    *,
    query_present: Bool[Tensor, " queries"] | None = None,
    gallery_present: Bool[Tensor, " items"] | None = None,
    normalise: bool = False,
    tile_bytes: int | None = None,
) -> DotScores:
    """Returns the scores of the present queries and items; the rows of absent ones may hold anything.

    With `normalise` they are cosines, 0 for a vector of zeros. Raises `ValueError` where embeddings contain NaN or
    infinity, naming how many do, and where they are so large that float32 cannot hold their products.
    """
    size = tile_bytes or (GPU_TILE_BYTES if queries.is_cuda else CPU_TILE_BYTES)
    query_norms = _norms(queries, query_present, "queries")
    item_norms = _norms(gallery, gallery_present, "gallery items")
    if len(queries) and len(gallery) and float(query_norms.max() * item_norms.max()) > 1e36:
        raise ValueError(
            f"The longest query ({float(query_norms.max()):.1e}) and the longest gallery item "
            f"({float(item_norms.max()):.1e}) have products beyond float32; divide the embeddings by a constant."
        )
    scale = torch.where(item_norms > 0, 1 / item_norms, 0.0) if normalise else None
    return DotScores(queries, gallery, query_norms, item_norms, scale, size)


def parts(index: Int[Tensor, " rows"], side: int) -> Iterator[Int[Tensor, " _"]]:
    """The index in pieces of at most `side`; none of an empty one."""
    return (index[start : start + side] for start in range(0, len(index), side))


def presence(mask: Bool[Tensor, " rows"] | None, values: Float[Tensor, "rows _"]) -> Bool[Tensor, " rows"]:
    """The mask, or that all are present."""
    return torch.ones(len(values), dtype=torch.bool, device=values.device) if mask is None else mask


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Matrix products in float32 as they are written, without TF32 and autocast, and without gradients."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _norms(
    values: Float[Tensor, "rows dim"], present: Bool[Tensor, " rows"] | None, what: str
) -> Float[Tensor, " rows"]:
    """In float64, 0 of absent rows; a sum of float32 squares is finite there exactly where the row is."""
    step = max(1, 2**22 // max(1, values.shape[1]))
    norms = torch.cat(
        [values.new_zeros(0, dtype=torch.float64)]
        + [
            torch.linalg.vector_norm(values[i : i + step], dim=1, dtype=torch.float64)
            for i in range(0, len(values), step)
        ]
    )
    norms = norms if present is None else norms.where(present, 0.0)
    wrong = int((~norms.isfinite()).sum())
    if wrong:
        raise ValueError(
            f"{wrong} of {len(values)} {what} contain NaN or infinity: a model that gives such values has no ranks. "
            f"Mark them as absent if they are missing."
        )
    return norms


def _take(values: Float[Tensor, "rows *rest"], index: Int[Tensor, " taken"]) -> Float[Tensor, "taken *rest"]:
    """The rows of an ascending index, without a copy where they stand side by side."""
    if len(index) == 0:
        return values[:0]
    first, last = int(index[0]), int(index[-1])
    return values[first : last + 1] if last - first + 1 == len(index) else values[index]
