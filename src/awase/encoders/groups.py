"""A batch of one modality in groups of samples, and the groups as a batch again."""

from typing import cast

import torch
from torch import Tensor

from awase.types import Inputs


def split_groups(inputs: Inputs, rows: int) -> list[Inputs]:
    """Groups of `rows` samples in their order, views of the batch; the last may be smaller."""
    if isinstance(inputs, Tensor):
        return list(inputs.split(rows))
    parts = {name: value.split(rows) for name, value in inputs.items()}
    return [dict(zip(parts, group, strict=True)) for group in zip(*parts.values(), strict=True)]


def join_groups(groups: list[Inputs]) -> Inputs:
    """The batch that `split_groups` would take apart; at least one group."""
    if isinstance(groups[0], Tensor):
        return torch.cat(cast(list[Tensor], groups))
    named = cast(list[dict[str, Tensor]], groups)
    return {name: torch.cat([group[name] for group in named]) for name in named[0]}
