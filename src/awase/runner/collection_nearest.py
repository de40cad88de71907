"""The items of a collection that score highest with a query: exactly, one shard at a time."""

from collections.abc import Iterable
from importlib.util import find_spec

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from awase.evaluation import top_k

INDEXES = ("auto", "exact", "faiss")
Shard = tuple[Tensor, Tensor]
"""Items of consecutive rows (items, dim), and which of them have what is asked for (items,)."""


def nearest(
    query: Float[Tensor, " dim"], shards: Iterable[Shard], k: int, *, index: str = "auto"
) -> tuple[Int[Tensor, " found"], Float[Tensor, " found"], int]:
    """(rows of the best items, best first; their dot products with the query; how many items could be compared).

    All items where there are fewer than `k`. Of equal scores the earlier row comes first, but for those that the k-th
    shares with items that are left out, which of them is then not defined. `faiss` is the same exact search by its
    IndexFlatIP; `auto`: by faiss where it is installed. Raises `ValueError` for k below 1, another index, and for NaN.
    Example: query `[1.]`, one shard `[[1.], [3.], [2.]]`, all there, k = 2: rows `[1, 2]`, scores `[3, 2]`, 3.
    """
    if k < 1:
        raise ValueError(f"The best 1 or more can be asked for; given: {k}.")
    rows, scores = torch.empty(0, dtype=torch.int64), torch.empty(0)
    with_faiss = uses_faiss(index)
    first = compared = 0
    for gallery, there in shards:
        places = there.nonzero()[:, 0]
        compared += len(places)
        if len(places):
            best = min(k, len(places))
            found, high = (_by_faiss if with_faiss else _by_tiles)(query, gallery, there, best)
            rows, scores = torch.cat([rows, first + found]), torch.cat([scores, high])
            kept = np.lexsort((rows.numpy(), -scores.numpy()))[:k]
            rows, scores = rows[kept], scores[kept]
        first += len(gallery)
    return rows, scores, compared


def uses_faiss(index: str) -> bool:
    """Whether the search is by faiss; raises `ValueError` where it is asked for and not installed."""
    if index not in INDEXES:
        raise ValueError(f"There is no index {index!r}; valid names: {', '.join(INDEXES)}.")
    there = find_spec("faiss") is not None
    if index == "faiss" and not there:
        raise ValueError("faiss is not installed: `pip install faiss-cpu`, or search with --index exact.")
    return there and index != "exact"


def _by_tiles(query: Tensor, gallery: Tensor, there: Tensor, k: int) -> tuple[Tensor, Tensor]:
    rows, scores = top_k(query[None], gallery, k, gallery_present=there)
    return rows[0], scores[0].float()


def _by_faiss(query: Tensor, gallery: Tensor, there: Tensor, k: int) -> tuple[Tensor, Tensor]:
    import faiss

    places = there.nonzero()[:, 0]
    vectors = np.ascontiguousarray(gallery[places].numpy(), dtype=np.float32)
    if not (np.isfinite(vectors).all() and bool(query.isfinite().all())):
        raise ValueError("The query or the collection contains NaN or infinity: the model that made them is broken.")
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(vectors)
    scores, rows = index.search(np.ascontiguousarray(query[None].numpy(), dtype=np.float32), k)
    return places[torch.from_numpy(np.asarray(rows[0], dtype=np.int64))], torch.from_numpy(np.asarray(scores[0]))
