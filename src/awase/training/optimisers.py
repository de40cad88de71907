"""Optimisers, and learning rates as a closed form of the step, so that a resumed run needs no scheduler state."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from awase.config import TrainConfig

NO_DECAY_DIMS = 1
"""Biases, norms and scales (one dimension or none) get no weight decay."""


def build_optimiser(parameters: Mapping[str, nn.Parameter], heads: frozenset[str], config: TrainConfig) -> Optimizer:
    """An optimiser over named parameters; those named in `heads` learn at the head's rate.

    Vectors and scalars are not decayed.
    """
    head_rate = config.learning_rate if config.head_learning_rate is None else config.head_learning_rate
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault((name in heads, parameter.dim() > NO_DECAY_DIMS), []).append(parameter)
    settings = [
        {
            "params": members,
            "base_rate": head_rate if is_head else config.learning_rate,
            "lr": config.learning_rate,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (is_head, decays), members in sorted(groups.items(), key=lambda item: item[0])
    ]
    if config.optimiser == "sgd":
        return SGD(settings, lr=config.learning_rate, momentum=config.momentum)
    # One pass over each tensor instead of ten. GPUs keep torch's own choice, whose step counters lie on the CPU.
    on_cpu = all(parameter.device.type == "cpu" for parameter in parameters.values())
    return AdamW(settings, lr=config.learning_rate, fused=True if on_cpu and parameters else None)


def rate_factor(step: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """The factor on the learning rate at optimiser step `step` (from 0): linear warm-up, then the schedule.

    cosine: (1 + cos(pi t)) / 2 with t going from `schedule_from` to `schedule_to` with the steps after warm-up.
    """
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return min((step + 1) / warmup, 1.0)
    if config.schedule == "cosine":
        total = max(config.epochs * steps_per_epoch - warmup, 1)
        done = min((step - warmup) / total, 1.0)
        begin, end = config.schedule_from, config.schedule_to
        return 0.5 * (1 + math.cos(math.pi * (begin + (end - begin) * done)))
    if config.schedule == "step":
        return float(config.step_factor ** (step // steps_per_epoch // config.step_epochs))
    return 1.0


def set_rate(optimiser: Optimizer, factor: float) -> None:
    """Sets each group's learning rate to its base rate times `factor`."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_rate"] * factor


def optimiser_tensors(optimiser: Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimiser's state as named tensors: `<parameter>|<slot>`."""
    tensors = {}
    for name, parameter in parameters.items():
        for slot, value in optimiser.state.get(parameter, {}).items():
            if value is not None:
                tensors[f"{name}|{slot}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return tensors


def load_optimiser_tensors(
    optimiser: Optimizer, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Puts back what `optimiser_tensors` gave."""
    for key, value in tensors.items():
        name, slot = key.rsplit("|", 1)
        parameter = parameters[name]
        # AdamW keeps its step counter on the CPU; moments live beside the parameter.
        moved = value.clone() if slot == "step" else value.to(parameter.device, copy=True)
        optimiser.state[parameter][slot] = moved
