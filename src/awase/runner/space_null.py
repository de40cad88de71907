"""Dual-sided null-space updates of the linear heads of a joint space (DNS)."""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from awase.adapters import accumulated_covariance, null_space_update, span_projector
from awase.fusion.rows import evaluating
from awase.models import Retrieval
from awase.models.encode import presence
from awase.runner.known import Known
from awase.types import Batch

Projectors = tuple[Float[Tensor, "inputs inputs"], Float[Tensor, "outputs outputs"]]


class NullSpace:
    """Heads that may move only where no score of an old pair sees it.

    The bias counts as the weight of an input that is always 1. Of a head W, which began as W_0, what is left of D = W -
    W_0 after each step is D - P' D P, P the projector on the span of its old inputs, P' on that of the old embeddings
    of its partners in the old pairs. That is linear and the same when done twice, so that it is as if every single
    update had been projected, whatever the optimiser makes of gradients; and W_0, P and P' follow from the weights that
    the stage began with.
    """

    def __init__(self, heads: Mapping[str, nn.Linear], projectors: Mapping[str, Projectors]) -> None:
        self.heads, self.projectors = dict(heads), dict(projectors)
        self.starts = {name: _whole(head) for name, head in self.heads.items()}

    @torch.no_grad()
    def hold(self) -> None:
        """Takes back what the last step changed in the old scores."""
        for name, head in self.heads.items():
            start = self.starts[name]
            kept = start + null_space_update(_whole(head) - start, *self.projectors[name])
            head.weight.copy_(kept[:, : head.in_features])
            if head.bias is not None:
                head.bias.copy_(kept[:, -1])


@torch.no_grad()
def null_space(
    model: Retrieval,
    pairs: Iterable[str],
    batches: Iterable[Batch],
    *,
    threshold: float,
    known: Known,
    device: str,
) -> NullSpace:
    """The heads of the old pairs as they are, with the spans of what they take and of what their partners give.

    The spans are of all samples of the batches that have the modality. Raises `ValueError` for a head that is not one
    linear layer.
    """
    partners: dict[str, set[str]] = {}
    for x, y in (pair.split("+") for pair in pairs):
        partners.setdefault(x, set()).add(y)
        partners.setdefault(y, set()).add(x)
    heads = {name: _linear(name, model.projections[name]) for name in partners}
    inputs = {name: (_zeros(_whole(head).shape[1], device), 0) for name, head in heads.items()}
    outputs = {name: (_zeros(head.out_features, device), 0) for name, head in heads.items()}
    with evaluating(model):
        for batch in (one.to(device) for one in batches):
            output, present = model(batch, known=known.of(batch, "train")), presence(batch, model.modalities)
            for name, head in heads.items():
                pooled = output.encoded[name].pooled.float()
                taken = pooled if head.bias is None else torch.cat([pooled, pooled.new_ones(len(pooled), 1)], dim=1)
                inputs[name] = accumulated_covariance(*inputs[name], taken, present=present[name])
                outputs[name] = accumulated_covariance(*outputs[name], output.embeddings[name], present=present[name])
    projectors = {}
    for name, others in partners.items():
        given = torch.stack([outputs[other][0] for other in sorted(others)]).sum(dim=0)
        spans = (span_projector(one, threshold=threshold).float() for one in (inputs[name][0], given))
        own, other = spans
        projectors[name] = (own, other)
    return NullSpace(heads, projectors)


def _zeros(size: int, device: str) -> Tensor:
    return torch.zeros(size, size, dtype=torch.float64, device=device)


def _linear(name: str, head: nn.Module) -> nn.Linear:
    if not isinstance(head, nn.Linear):
        raise ValueError(
            f"DNS is for linear heads; that of {name!r} is a {type(head).__name__}. Set space.projection=linear, or "
            f"space.projections.{name}=linear."
        )
    return head


def _whole(head: nn.Linear) -> Float[Tensor, "outputs inputs"]:
    """The weight, and the bias as its last column."""
    weight = head.weight.detach()
    return weight.clone() if head.bias is None else torch.cat([weight, head.bias.detach()[:, None]], dim=1)
