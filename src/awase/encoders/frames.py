"""Running an image network over the frames of a clip."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor


def per_frame(function: Callable[[Tensor], Tensor], clips: Float[Tensor, "batch frames *rest"]) -> Tensor:
    """`function` of every frame: frames are folded into the batch and unfolded again."""
    result: Tensor = function(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
    return result
