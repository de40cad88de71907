"""One pass over a split: everything a model says about it, on the CPU."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from awase.evaluation.missing import Keep, restrict
from awase.fusion.rows import evaluating
from awase.types import Batch, ClassifierOutput, Encoded


@dataclass(frozen=True)
class Outputs:
    """What a model said, a row per sample, on the CPU and in float32; `left_out` had no modality to go by.

    `modality_logits[m]` and `features[m]` mean something only where `present[m]`.
    """

    ids: tuple[str, ...]
    index: Int[Tensor, " samples"]
    targets: Shaped[Tensor, "samples *classes"] | None
    logits: Float[Tensor, "samples classes_"]
    modality_logits: dict[str, Float[Tensor, "samples classes_"]]
    features: dict[str, Float[Tensor, "samples _"]]
    present: dict[str, Bool[Tensor, " samples"]]
    left_out: int

    def __len__(self) -> int:
        return len(self.ids)


def collect(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device | str,
    *,
    keep: Keep | None = None,
    features: bool = True,
    known: Callable[[Batch], Mapping[str, Encoded]] | None = None,
) -> Outputs:
    """Returns the outputs of one pass in evaluation mode without gradients; the modes of all modules are put back.

    `keep` takes modalities away, see `conditions`; `known` gives features that need not be computed. A sample with none
    left is counted, not scored. With `features=False` the pooled features are not kept. Raises `ValueError` where no
    sample is left.
    """
    parts: list[Outputs] = []
    left_out = 0
    with evaluating(model), torch.no_grad():
        for batch in batches:
            seen, without = _restrict(batch, keep or {})
            left_out += without
            if len(seen):
                moved = seen.to(device)
                output = model(moved) if known is None else model(moved, known=known(moved))
                parts.append(_outputs(seen, output, features))
    if not parts:
        raise ValueError(f"No sample is left to score: {left_out} had none of the modalities in use.")
    return replace(join_outputs(parts), left_out=left_out)


def _restrict(batch: Batch, keep: Keep) -> tuple[Batch, int]:
    """Leaves out samples that have no modality even where `keep` names none; a complete batch costs no look."""
    if batch.complete and not keep:
        return batch, 0
    return restrict(batch, dict.fromkeys(batch.present, True) | dict(keep))


def _outputs(batch: Batch, output: ClassifierOutput, features: bool) -> Outputs:
    nowhere = torch.zeros(len(batch), dtype=torch.bool)
    absent = {name: nowhere for name in output.encoded if name not in batch.present}
    return Outputs(
        batch.ids,
        batch.index.cpu(),
        None if batch.targets is None else batch.targets.cpu(),
        _cpu(output.logits),
        {name: _cpu(value) for name, value in output.modality_logits.items()},
        {name: _cpu(value.pooled) for name, value in output.encoded.items()} if features else {},
        {name: value.cpu() for name, value in batch.present.items()} | absent,
        0,
    )


def _cpu(tensor: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return tensor.detach().float().cpu()


def join_outputs(parts: list[Outputs]) -> Outputs:
    """The samples of all parts one after another."""
    first = parts[0]
    targets = [part.targets for part in parts if part.targets is not None]
    return Outputs(
        tuple(name for part in parts for name in part.ids),
        torch.cat([part.index for part in parts]),
        torch.cat(targets) if targets else None,
        torch.cat([part.logits for part in parts]),
        {name: torch.cat([part.modality_logits[name] for part in parts]) for name in first.modality_logits},
        {name: torch.cat([part.features[name] for part in parts]) for name in first.features},
        {name: torch.cat([part.present[name] for part in parts]) for name in first.present},
        sum(part.left_out for part in parts),
    )
