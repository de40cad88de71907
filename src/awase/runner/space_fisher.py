"""How much the losses of earlier pairs depend on every parameter: the diagonal Fisher information in a joint space."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from awase.fusion.rows import evaluating
from awase.models import Retrieval
from awase.models.encode import presence
from awase.objectives import PairLoss, pair_losses
from awase.runner.known import Known
from awase.types import Batch


def pairs_fisher(
    model: Retrieval,
    parameters: Mapping[str, nn.Parameter],
    batches: Iterable[Batch],
    loss: PairLoss,
    pairs: Mapping[str, float],
    *,
    known: Known,
    samples: int,
    device: str,
) -> dict[str, Tensor]:
    """1/N sum_i (d l_i / d theta)^2 of every parameter that a loss reaches, l_i the sum of sample i's pair losses.

    Its negatives are the others of its batch, and the gradient goes through them too: a contrastive loss has no samples
    that stand alone. N is `samples`, or all there are, in evaluation mode. Every process has the same whole batches,
    so that it finds the same as one alone.
    """
    names, values = list(parameters), list(parameters.values())
    sums: dict[str, Tensor] = {}
    count = 0
    with evaluating(model), torch.enable_grad():
        for batch in (one.to(device) for one in batches):
            output = model(batch, known=known.of(batch, "train"))
            terms = pair_losses(output.embeddings, presence(batch, model.modalities), loss, pairs)
            for own in torch.stack(list(terms.values())).sum(dim=0)[: samples - count]:
                count += 1
                if not own.requires_grad:  # nobody of the batch has a pair
                    continue
                found = torch.autograd.grad(own, values, retain_graph=True, allow_unused=True)
                for name, gradient in zip(names, found, strict=True):
                    if gradient is not None:
                        sums[name] = sums.get(name, torch.zeros_like(gradient)) + gradient.float().square()
            if count >= samples:
                break
    return {name: total / count for name, total in sums.items()}
