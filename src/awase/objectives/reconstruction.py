"""The squared error of features that were made again from an embedding."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from awase.distributed import ALONE, World
from awase.objectives.presence import over_present, without_absent


def reconstruction(
    outputs: Mapping[str, Float[Tensor, "batch _"]],
    targets: Mapping[str, Float[Tensor, "batch _"]],
    present: Mapping[str, Bool[Tensor, " batch"] | None],
    *,
    detach: bool = True,
    world: World = ALONE,
) -> Float[Tensor, " batch"]:
    """sum_m mean_d (r_m - t_m)^2 over the modalities m of `outputs`, in float32 at least.

    Each modality's term is 0 for samples that lack it and scaled for the others, so that its mean over all samples of
    all processes is that over those present. MCN weighs the loss with 50.
    `detach`: no gradient reaches the targets. The released code of MCN lets it through where the target is itself
    learnt, so that the loss falls when the targets shrink: `detach=False`.
    Raises `ValueError` where an output has no target of its size.
    Source: Chen et al., ICCV 2021, and the released code.
    """
    terms = []
    for name, output in outputs.items():
        target = targets.get(name)
        if target is None or target.shape != output.shape:
            given = "none" if target is None else f"one of the shape {tuple(target.shape)}"
            raise ValueError(
                f"The reconstruction of {name!r} has the shape {tuple(output.shape)} and its target must have it too; "
                f"given: {given}."
            )
        rows = present[name]
        target = target.detach() if detach else target
        error = without_absent(output, rows) - without_absent(target, rows)
        terms.append(over_present(error.square().mean(dim=1), rows, world))
    return torch.stack(terms).sum(dim=0)
