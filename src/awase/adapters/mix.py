"""Several adapters in one batch: which row has which, and the matrices of all keys side by side.

Each key keeps parameters of its own; they are put together anew in every pass. So an optimiser may hold those of some
keys only, and a key that is not in a batch has no gradient at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
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


def side_by_side(
    adapters: Sequence[Adapter | None], groups: int, input: Tensor
) -> tuple[Tensor, Tensor, Int[Tensor, " channels"]]:
    """`A` and `scale B` of all keys as one adapter of the sum of their ranks, and the key of each of its channels.

    The channels of a grouped convolution are ordered by group first.
    """
    known = [(place, adapter) for place, adapter in enumerate(adapters) if adapter is not None]
    low = torch.cat([like(adapter.A, input).unflatten(0, (groups, -1)) for _, adapter in known], dim=1).flatten(
        0, 1
    )  # (groups * ranks, ...)
    high = torch.cat([like(adapter.B, input) * adapter.scale for _, adapter in known], dim=1)
    owners = [place for place, adapter in known for _ in range(adapter.rank)]
    return low, high, torch.tensor(owners, device=input.device).repeat(groups)


def own_channels(hidden: Tensor, owners: Int[Tensor, " channels"], mix: Mix, *, channel_dim: int) -> Tensor:
    """What the rank projections of all keys gave, zeros in every row but for the channels of its own key."""
    own = mix.places(len(hidden), hidden.device)[:, None] == owners  # (rows, channels)
    shape = [1] * hidden.dim()
    shape[0], shape[channel_dim] = own.shape
    return hidden * own.view(shape)
