"""Several processes under torchrun, or one: the same code, and on one process every function is the identity."""

from awase.distributed.gather import copy_from_first, first_row, gather_constant, gather_rows
from awase.distributed.world import ALONE, World, current_world, joined_world

__all__ = [
    "ALONE",
    "World",
    "copy_from_first",
    "current_world",
    "first_row",
    "gather_constant",
    "gather_rows",
    "joined_world",
]
