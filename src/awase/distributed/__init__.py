"""Several processes under torchrun, or one: the same code, and on one process every function is the identity."""

from awase.distributed.world import ALONE, World, current_world, joined_world

__all__ = ["ALONE", "World", "current_world", "joined_world"]
