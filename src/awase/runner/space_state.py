"""What the objective of a joint space remembers from step to step, as configured."""

import math
from functools import partial

import torch
from torch import Tensor, nn

from awase.config import RetrievalConfig
from awase.objectives import CONTRASTIVE, ClusterMemory, PairLoss


class SpaceState(nn.Module):
    """The clustering's queue and centroids where there is clustering, and the temperature where it is learned."""

    def __init__(self, config: RetrievalConfig, seed: int) -> None:
        super().__init__()
        clustering = config.clustering
        self.memory = (
            None
            if clustering is None
            else ClusterMemory(
                config.space.dim,
                num_clusters=clustering.num_clusters,
                queue_rows=clustering.queue_rows,
                refit_every=clustering.refit_every,
                reset_each_epoch=clustering.reset_each_epoch,
                assignment=clustering.assignment,
                seed=seed,
            )
        )
        start = torch.tensor(math.log(config.temperature))
        self.log_temperature = nn.Parameter(start) if config.learn_temperature else None
        self._temperature = config.temperature

    @property
    def temperature(self) -> Tensor | float:
        """The temperature as it is now."""
        return self._temperature if self.log_temperature is None else self.log_temperature.exp()

    @torch.no_grad()
    def begin(self, what: tuple[str, ...]) -> None:
        """Forgets what a stage begins anew: `queue`, `centroids`, `temperature`; other names are not of this state."""
        if self.memory is not None:
            self.memory.forget(queue="queue" in what, centroids="centroids" in what)
        if self.log_temperature is not None and "temperature" in what:
            self.log_temperature.fill_(math.log(self._temperature))


def contrast(config: RetrievalConfig, temperature: Tensor | float) -> PairLoss:
    """The contrastive loss that is configured, at this temperature."""
    loss = CONTRASTIVE[config.loss]
    if config.loss in ("info_nce", "normalised_softmax"):
        return partial(loss, temperature=temperature)
    return partial(loss, margin=config.margin) if config.loss in ("mms", "max_margin") else loss
