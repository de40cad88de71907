"""Elastic weight consolidation: what mattered to earlier tasks moves little."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vmap

from awase.distributed import ALONE, World

Parameters = Mapping[str, Float[Tensor, "*shape"]]


def elastic_penalty(
    parameters: Parameters, anchors: Parameters, fisher: Parameters, *, strength: float
) -> Float[Tensor, ""]:
    """strength / 2 sum_p F_p (theta_p - theta*_p)^2 over every entry of the parameters that have an anchor.

    One value, of the weights and not of samples: it is added to the mean of the losses. In float32 at least; gradient
    to the parameters alone. Parameters without an anchor are free.
    Raises `ValueError` where anchors and Fisher information are not of the same parameters, some of those given.
    Source: Kirkpatrick et al., PNAS 2017, equation 3.
    """
    if not anchors or set(anchors) != set(fisher) or not set(anchors) <= set(parameters):
        raise ValueError(
            "The penalty needs an anchor and the Fisher information of the same parameters, among those of the model; "
            f"given: anchors of {sorted(anchors)}, information of {sorted(fisher)}, parameters {sorted(parameters)}."
        )
    terms = [
        (fisher[name].detach() * (_wide(parameters[name]) - anchor.detach()).square()).sum()
        for name, anchor in anchors.items()
    ]
    return 0.5 * strength * torch.stack(terms).sum()


def diagonal_fisher(
    loss: Callable[[dict[str, Tensor], Any], Float[Tensor, ""]],
    parameters: Parameters,
    batches: Iterable[Any],
    *,
    chunk_size: int | None = None,
    world: World = ALONE,
) -> dict[str, Float[Tensor, "*shape"]]:
    """(1/N) sum_i (d loss_i / d theta)^2 of every entry of the parameters, over all N samples of all processes.

    `loss(parameters, sample)` is the loss of one sample, which lacks the batch axis that every tensor of a batch has
    first; `torch.func.functional_call` makes one of a module. With the targets of the data it is the empirical Fisher
    information. A sample whose loss does not depend on a parameter adds 0 and is counted. The gradients of
    `chunk_size` samples (none: of a whole batch) are in memory at a time. Processes may have different numbers of
    batches, and none. In float32 at least.
    Raises `ValueError` where no process has a sample.
    """
    own = {name: value.detach() for name, value in parameters.items()}
    sums = {name: torch.zeros_like(_wide(value)) for name, value in own.items()}
    of_samples = vmap(grad(loss), in_dims=(None, 0), chunk_size=chunk_size)
    count = 0
    for batch in batches:
        gradients = of_samples(own, batch)
        count += len(next(iter(gradients.values())))
        for name, values in gradients.items():
            sums[name] += _wide(values).square().sum(dim=0)
    total = next(iter(sums.values())).new_tensor(float(count))
    world.sum_([*sums.values(), total])
    if total == 0:
        raise ValueError("The Fisher information is a mean over samples; no process has one.")
    return {name: value / total for name, value in sums.items()}


def _wide(tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
