"""What an epoch shows of each modality beside the loss: its encoder's gradient, and what its own logits know."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from awase.balancing import Forward, Rule, target_scores
from awase.distributed import World
from awase.models.parts import part_of


class Observed:
    """Sums over an epoch, on the parameters' device, so that a step waits for nothing."""

    def __init__(self, rule: Rule, parameters: Mapping[str, nn.Parameter]) -> None:
        self.balances = rule.balances
        self.multi_label = rule.balances and rule.context.multi_label
        modalities = rule.context.model.modalities if rule.balances else ()
        self.encoders: dict[str, list[nn.Parameter]] = {}
        for name, parameter in parameters.items():
            modality, _, kind = part_of(name).partition(".")
            if kind in ("encoder", "adapter"):
                self.encoders.setdefault(modality, []).append(parameter)
        device = next(iter(parameters.values())).device if parameters else torch.device("cpu")
        self.sums = {
            f"{what}|{name}": torch.zeros(2, dtype=torch.float64, device=device)
            for what, names in (("norm", self.encoders), ("score", modalities))
            for name in names
        }

    @torch.no_grad()
    def note_gradients(self) -> None:
        """Adds the norm of each encoder's gradient as it is now: of the step after balancing, before clipping."""
        for name, parameters in self.encoders.items():
            gradients = [p.grad for p in parameters if p.grad is not None]
            if gradients:
                norm = torch.stack(torch._foreach_norm(gradients)).double().norm()
                self.sums[f"norm|{name}"] += torch.stack([norm, norm.new_ones(())])

    @torch.no_grad()
    def note_scores(self, forward: Any) -> None:
        """Adds the probability that each modality's own logits give the target (several labels: the mean over them).

        Of a task without classes nothing.
        """
        if not self.balances:
            return
        assert isinstance(forward, Forward), "what is balanced has logits"
        targets = forward.batch.targets
        assert targets is not None, "training rows have labels"
        for name, logits in forward.output.modality_logits.items():
            scores = target_scores(logits, targets, self.multi_label)
            rows = forward.present[name]
            kept = torch.ones_like(scores) if rows is None else rows.to(scores.dtype)
            self.sums[f"score|{name}"] += torch.stack([(scores * kept).sum(), kept.sum()]).double()

    def means(self, world: World) -> dict[str, dict[str, float]]:
        """The epoch's means over steps and over the samples of all processes, as fields of an `Epoch`; then zero."""
        scores = {name: value for name, value in self.sums.items() if name.startswith("score|")}
        world.sum_(list(scores.values()))
        found: dict[str, dict[str, float]] = {"gradient_norms": {}, "target_scores": {}}
        for key, value in self.sums.items():
            what, _, name = key.partition("|")
            total, count = value.tolist()
            if count > 0:
                found["gradient_norms" if what == "norm" else "target_scores"][name] = total / count
            value.zero_()
        return found
