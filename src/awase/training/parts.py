"""Which parts a stage trains, and what the rest must look like while it does."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn

from awase.models import Classifier, Retrieval
from awase.models.parts import ADAPTER_MARK, OF_A_MODALITY, part_of


def match_parts(patterns: Sequence[str], parts: Iterable[str]) -> tuple[str, ...]:
    """The parts that any of the patterns matches, in the order of `parts`.

    Raises `ValueError` for a pattern that matches none, listing the parts there are.
    """
    names = tuple(parts)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"No part matches {pattern!r}; the parts are: {', '.join(sorted(names))}.")
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def freeze_except(model: Classifier | Retrieval, trained: Sequence[str]) -> dict[str, nn.Parameter]:
    """The parameters of the trained parts by name, after setting `requires_grad` of every parameter accordingly."""
    chosen = {}
    for name, parameter in model.named_parameters():
        learns = part_of(name) in trained
        parameter.requires_grad_(learns)
        if learns:
            chosen[name] = parameter
    return chosen


def set_modes(model: Classifier | Retrieval, trained: Sequence[str]) -> None:
    """Training mode for what learns, evaluation mode for what is frozen: its BatchNorm and dropout stand still."""
    model.eval()
    for name, encoder in model.encoders.items():
        if f"{name}.encoder" in trained:
            encoder.train()
    for attribute, children in model.named_children():
        if attribute in OF_A_MODALITY:
            for name, head in children.named_children():
                head.train(f"{name}.{OF_A_MODALITY[attribute]}" in trained)
    for path, module in model.named_modules():
        first = next((name for name, _ in module.named_parameters()), None)
        if ADAPTER_MARK in f".{path}." and first is not None and part_of(f"{path}.{first}") in trained:
            module.train()
    if isinstance(model, Classifier):
        model.fusion.train("fusion" in trained)


def frozen_tensors(parts: Mapping[str, Mapping[str, Tensor]], trained: Sequence[str]) -> dict[str, Tensor]:
    """Every tensor, parameter or buffer, outside the trained parts."""
    return {name: value for part, tensors in parts.items() if part not in trained for name, value in tensors.items()}


def trained_tensors(parts: Mapping[str, Mapping[str, Tensor]], trained: Sequence[str]) -> dict[str, Tensor]:
    """Every tensor, parameter or buffer, of the trained parts."""
    return {name: value for part, tensors in parts.items() if part in trained for name, value in tensors.items()}
