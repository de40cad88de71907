"""MMPareto: the multi-modal and the uni-modal gradient of an encoder, combined so that neither is worked against."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from awase.balancing.rule import Forward, Rule, RuleContext


class MmPareto(Rule):
    """Steps of an encoder along a Pareto direction of two losses: of the fused logits and of its own head.

    Minimised are L_mm = l(z, y) and, with a head of its own per modality, L_m = l(z_m, y), each unweighted, whatever
    the weights of the stage's objective. Of the encoder of m (adapters included) let g_mm and g_m be the gradients of
    L_mm and L_m over all its parameters that learn, means over the samples of all micro-batches and processes. Where
    their cosine is above zero, w = (1/2, 1/2); else w are the weights of the smallest w_0 g_mm + w_1 g_m. Each tensor
    of the encoder then gets

        gamma max(1, ||g_mm + g_m|| / ||g||) g  with  g = 2 w_0 g_mm + 2 w_1 g_m  (norms of that tensor).

    Heads and fusion get the gradient of the sum of all losses. L_m reaches no encoder but its own, so two backward
    passes give every gradient: one of L_mm, one of the sum of all L_m. A sample without m has no L_m; it counts as
    zero in the mean. Defined for any number of modalities, for several labels and for mixed targets alike.

    Raises `ValueError` where the modalities have no heads beside the fusion's, where they meet inside the encoders,
    where no encoder learns, and for a `gamma` that is not above zero.
    Source: Wei and Hu, ICML 2024; the factor per tensor as in the authors' code.
    """

    def __init__(self, context: RuleContext, gamma: float = 1.5) -> None:
        super().__init__(context)
        model = context.model
        if not model.heads or model.fusion.needs_heads:
            raise ValueError(
                "MMPareto needs a head per modality beside the fusion's own: set own_heads=true with a fusion that "
                "needs no heads (concat, mlp, film, gated)."
            )
        if model.mixes:
            raise ValueError(
                "MMPareto needs encoders that each see one modality; in this fusion the modalities meet inside them."
            )
        if gamma <= 0:
            raise ValueError(f"The gamma of MMPareto is above 0; this is {gamma}.")
        self.gamma = gamma
        self._encoders = {name: tuple(context.encoder_parameters(name).values()) for name in model.modalities}
        if not any(self._encoders.values()):
            raise ValueError("MMPareto balances encoders that learn; none of this stage's does.")
        self._own: dict[nn.Parameter, Tensor | None] = {
            parameter: None for parameters in self._encoders.values() for parameter in parameters
        }

    def losses(self, forward: Forward) -> Float[Tensor, " batch"]:
        """L_mm + sum_m L_m."""
        return forward.fused + torch.stack(list(forward.modality.values())).sum(dim=0)

    def backward(self, forward: Forward, losses: Float[Tensor, " batch"]) -> None:
        """Adds the gradient of L_mm to the parameters' own, and keeps that of the L_m to the encoders beside it."""
        own = torch.stack(list(forward.modality.values())).sum()
        if not own.requires_grad:
            forward.fused.sum().backward()
            return
        fused = forward.fused.sum()
        if fused.requires_grad:
            fused.backward(retain_graph=True)
        shared = {parameter: parameter.grad for parameter in self._own}
        for parameter, kept in self._own.items():
            parameter.grad = kept
        own.backward()
        for parameter in self._own:
            self._own[parameter] = parameter.grad
            parameter.grad = shared[parameter]

    def extra_gradients(self) -> list[Tensor]:
        """The gradients of the L_m to the encoders: the same list on every process, zeros where none was reached."""
        gradients = []
        for parameter, kept in self._own.items():
            self._own[parameter] = gradient = torch.zeros_like(parameter) if kept is None else kept
            gradients.append(gradient)
        return gradients

    @torch.no_grad()
    def after_backward(self, step: int) -> None:
        """Replaces the encoders' gradients by the combined ones."""
        for parameters in self._encoders.values():
            pairs = [(p, own) for p in parameters if p.grad is not None and (own := self._own[p]) is not None]
            shared = [parameter.grad for parameter, _ in pairs if parameter.grad is not None]
            combined = combined_gradients(shared, [own for _, own in pairs], self.gamma)
            for (parameter, _), gradient in zip(pairs, combined, strict=True):
                parameter.grad = gradient
        self._own = dict.fromkeys(self._own)


def combined_gradients(shared: Sequence[Tensor], own: Sequence[Tensor], gamma: float) -> list[Tensor]:
    """Per tensor gamma max(1, ||a + b|| / ||g||) g with g = 2 w_0 a + 2 w_1 b; the weights from all tensors together.

    A tensor in which g is zero stays zero. `shared` holds the a, `own` the b; neither is changed.
    """
    if not shared:
        return []
    sizes = [tensor.numel() for tensor in shared]
    first, second = (torch.cat([tensor.flatten() for tensor in part]) for part in (shared, own))
    weight = pareto_weight(first @ first, first @ second, second @ second)
    parts = torch.lerp(second, first, weight).mul_(2.0).split(sizes)
    before = torch.stack(torch._foreach_norm((first + second).split(sizes)))
    after = torch.stack(torch._foreach_norm(parts))
    factors = gamma * (before / after.masked_fill(after == 0, torch.inf)).clamp_min(1.0)  # (tensors,)
    torch._foreach_mul_(parts, factors.unbind())
    return [part.view_as(tensor).to(tensor.dtype) for part, tensor in zip(parts, shared, strict=True)]


def pareto_weight(first: Float[Tensor, ""], both: Float[Tensor, ""], second: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """w_0 from the inner products <a, a>, <a, b> and <b, b>; w_1 = 1 - w_0.

    1/2 where <a, b> > 0, and where both are zero; else the minimiser of ||w_0 a + w_1 b|| in [0, 1], which is
    (<b, b> - <a, b>) / (<a, a> - 2 <a, b> + <b, b>). Source: Désidéri 2012; Sener and Koltun, NeurIPS 2018.

    >>> pareto_weight(torch.tensor(1.0), torch.tensor(-1.0), torch.tensor(3.0))
    tensor(0.6667)
    """
    distance = first - 2 * both + second
    smallest = ((second - both) / distance.masked_fill(distance == 0, 1.0)).clamp(0.0, 1.0)
    return torch.where((both > 0) | (distance == 0), 0.5, smallest)
