"""Several adapters in one batch: which row has which, and the matrices of all keys side by side.

Each key keeps parameters of its own; they are put together anew in every pass. So an optimiser may hold those of some
keys only, and a key that is not in a batch has no gradient at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from awase.adapters.adapter import Adapter, Adapters, like


@dataclass(frozen=True, eq=False)
class Mix:
    """The keys of a batch (None: the base alone), and the place in `keys` of each row's.

    Without `index` the batch is as many equal blocks as there are keys, one after the other.
    """

    keys: tuple[str | None, ...]
    index: Int[Tensor, " rows"] | None = None
    _segments: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def adapters(self, held: Adapters) -> list[Adapter | None]:
        """The adapter of each key on a layer."""
        return [None if key is None else held.get(key) for key in self.keys]

    def places(self, rows: int, device: torch.device) -> Int[Tensor, " rows"]:
        """The place of each of `rows` rows, which may be several (the frames of a clip) per row of the batch.

        Raises `ValueError` where the rows cannot be shared out equally.
        """
        index = torch.arange(len(self.keys), device=device) if self.index is None else self.index
        if rows % len(index):
            raise ValueError(
                f"{rows} rows cannot be shared out to {len(index)} {'keys' if self.index is None else 'samples'}; a "
                "batch with several adapters has the same number of rows for each."
            )
        return index.repeat_interleave(rows // len(index))

    def segments(self, rows: int, device: torch.device) -> tuple[Int[Tensor, "keys most"], Int[Tensor, " rows"]]:
        """The rows of each key, as many as the key with most has (row 0 fills the rest), and where each row stands
        among them all. Made once; of an index on a GPU that means waiting for it.
        """
        if rows not in self._segments:
            places = self.places(rows, torch.device("cpu")) if self.index is None else self.places(rows, device).cpu()
            counts = places.bincount(minlength=len(self.keys))
            order = places.argsort(stable=True)
            within = torch.arange(rows) - (counts.cumsum(0) - counts)[places[order]]  # place among the key's own
            of_key = torch.zeros(len(self.keys), int(counts.max()), dtype=torch.int64)
            of_key[places[order], within] = order
            stands = torch.empty_like(order)
            stands[order] = places[order] * of_key.shape[1] + within
            self._segments[rows] = (of_key.to(device), stands.to(device))
        return self._segments[rows]


def stacked(adapters: Sequence[Adapter | None], inputs: int, outputs: int, input: Tensor) -> tuple[Tensor, Tensor]:
    """`A` (keys, rank, inputs) and `scale B` (keys, outputs, rank) of the largest rank, zeros beyond a key's own."""
    rank = max(adapter.rank for adapter in adapters if adapter is not None)
    low, high = [], []
    for adapter in adapters:
        if adapter is None:
            low.append(input.new_zeros(rank, inputs))
            high.append(input.new_zeros(outputs, rank))
            continue
        missing = rank - adapter.rank
        low.append(like(F.pad(adapter.A, (0, 0, 0, missing)) if missing else adapter.A, input))
        high.append(like(F.pad(adapter.B, (0, missing)) if missing else adapter.B, input) * adapter.scale)
    return torch.stack(low), torch.stack(high)


@dataclass(frozen=True, eq=False)
class SideBySide:
    """All keys of a layer as one adapter of the sum of their ranks; `owners` and `scales` are those of its channels.

    The channels of a grouped convolution are ordered by group first.
    """

    a: Tensor
    b: Tensor
    owners: Int[Tensor, " channels"]
    scales: Float[Tensor, " channels"]

    def own(self, hidden: Tensor, mix: Mix, *, channel_dim: int) -> Tensor:
        """What `a` gave, times the scale in the channels of each row's own key, and zero in all others."""
        places = mix.places(len(hidden), hidden.device)
        factors = torch.where(places[:, None] == self.owners, self.scales, 0)  # (rows, channels)
        shape = [1] * hidden.dim()
        shape[0], shape[channel_dim] = factors.shape
        return hidden * factors.view(shape).to(hidden.dtype)


def side_by_side(adapters: Sequence[Adapter | None], groups: int, input: Tensor) -> SideBySide:
    """The adapters of a layer, of which at least one is there, in the type of its input."""
    known = [(place, adapter) for place, adapter in enumerate(adapters) if adapter is not None]
    a = torch.cat([like(adapter.A, input).unflatten(0, (groups, -1)) for _, adapter in known], dim=1)
    b = torch.cat([like(adapter.B, input) for _, adapter in known], dim=1)
    owners = [place for place, adapter in known for _ in range(adapter.rank)]
    scales = [adapter.scale for _, adapter in known for _ in range(adapter.rank)]
    return SideBySide(
        a.flatten(0, 1),  # (groups * ranks, ...)
        b,
        torch.tensor(owners, device=input.device).repeat(groups),
        torch.tensor(scales, device=input.device, dtype=input.dtype).repeat(groups),
    )
