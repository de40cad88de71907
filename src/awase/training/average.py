"""Weight averaging: an exponential moving average of the trained tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor

MEMORY = "objective.memory."
"""Names of tensors that begin so are a queue and centroids: their rows are replaced, a mean of them means nothing."""


class WeightAverage:
    """e <- d e + (1 - d) w after each optimiser step, with the usual warm-up d = min(decay, (1 + n) / (10 + n)).

    Tensors that are not floating point (BatchNorm's counters) are copied, and so is what an objective remembers of
    single samples (`MEMORY`).
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes the weights after one more step into the average."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        for name, mean in self.tensors.items():
            value = tensors[name].detach()
            if mean.is_floating_point() and not name.startswith(MEMORY):
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
