"""What the objective of a joint space remembers from step to step, as configured."""

import math
from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from awase.config import RetrievalConfig, TargetsConfig
from awase.config.retrieval import TEMPERATURES
from awase.objectives import CONTRASTIVE, ClusterMemory, PairLoss, Targets, partial_targets, soft_targets

LEAST = 0.01
"""A learned temperature is not below it."""


class SpaceState(nn.Module):
    """Queue and centroids of clustering, the temperature where it is learned, the projector of CKC: what there is."""

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
                spherical=config.loss not in ("mms", "mil_nce"),
                seed=seed,
            )
        )
        learned = config.learn_temperature
        start, bias = torch.tensor(math.log(config.first_temperature)), torch.tensor(config.bias)
        self.log_temperature = nn.Parameter(start) if learned else None
        self.bias = nn.Parameter(bias) if learned and config.loss == "sigmoid" else None
        self.projector: nn.Module | None = None
        """What embeddings pass before they find their old ones (CKC)."""
        if config.kept is not None and "ckc" in config.kept.names:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.projector = nn.Linear(config.space.dim, config.space.dim)
        self._config = config

    @property
    def temperature(self) -> Tensor | float:
        """The temperature as it is now."""
        return self._config.first_temperature if self.log_temperature is None else self.log_temperature.exp()

    def contrast(self, device: torch.device | str | None = None) -> PairLoss:
        """The contrastive loss that is configured, with the temperature and bias as they are now.

        Of `mil_nce`: that of the pairs without candidates. `device`: where its embeddings are, if not where this state
        is.
        """
        loss = CONTRASTIVE["mms" if self._config.loss == "mil_nce" else self._config.loss]
        if self._config.loss == "sigmoid":
            bias = self._config.bias if self.bias is None else self.bias
            return partial(loss, scale=1 / _on(self.temperature, device), bias=_on(bias, device))
        if self._config.loss in TEMPERATURES:
            return partial(loss, temperature=_on(self.temperature, device))
        return loss if self._config.margin is None else partial(loss, margin=self._config.margin)

    def targets(self, names: Iterable[str], temperatures: Mapping[str, float] | None = None) -> dict[str, Targets]:
        """Of these pairs or combinations, those that have targets in training, with their targets.

        `temperatures` are those of combinations that have their own; of the others it is the one of now.
        """
        config, own = self._config.targets, temperatures or {}
        if config is None:
            return {}
        covered = [name for name in names if not config.pairs or name in config.pairs]
        now = self.temperature.item() if isinstance(self.temperature, Tensor) else self.temperature
        return {name: targets_of(config, own.get(name, now)) for name in covered}

    @torch.no_grad()
    def hold(self) -> None:
        """Sets a learned temperature that has fallen below `LEAST` (or below where it began, if lower) to that.

        As in CLIP (Radford et al., ICML 2021), which keeps the factor of the scores at 100 at most.
        """
        if self.log_temperature is not None:
            self.log_temperature.clamp_(min=math.log(min(LEAST, self._config.first_temperature)))

    @torch.no_grad()
    def begin(self, what: tuple[str, ...]) -> None:
        """Forgets what a stage begins anew: `queue`, `centroids`, `temperature`; other names are not of this state.

        Epochs are counted from the beginning in any case.
        """
        if self.memory is not None:
            self.memory.forget(queue="queue" in what, centroids="centroids" in what)
        if self.log_temperature is not None and "temperature" in what:
            self.log_temperature.fill_(math.log(self._config.first_temperature))
            if self.bias is not None:
                self.bias.fill_(self._config.bias)


def targets_of(config: TargetsConfig, temperature: float) -> Targets:
    """The targets that are configured, of cosines divided by this temperature."""
    if config.kind == "soft":
        epsilon = 1.0 if config.epsilon is None else config.epsilon
        return partial(soft_targets, beta=config.beta, epsilon=epsilon, iterations=config.iterations)
    return partial(
        partial_targets,
        beta=config.beta,
        quantile=0.3 if config.quantile is None else config.quantile,
        epsilon=0.1 / temperature if config.epsilon is None else config.epsilon,
        iterations=config.iterations,
    )


def _on(value: Tensor | float, device: torch.device | str | None) -> Tensor | float:
    return value.to(device) if isinstance(value, Tensor) and device is not None else value
