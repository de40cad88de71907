"""Which modalities the model may see: all, one, all but one, or a random share; as masks over a data set's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from awase.types import Batch, Inputs, map_inputs

Keep = Mapping[str, bool | Bool[np.ndarray, " rows"]]
"""Modality -> whether it stays, for all samples or per row of the data set. One that is not named stays."""


def drop_plan(num_samples: int, modalities: Sequence[str], rate: float, seed: int) -> dict[str, Bool[np.ndarray, " n"]]:
    """Returns, per modality, True where the modality is taken away from the sample.

    Each modality of each sample goes independently with probability `rate`; where all of a sample's would go, one of
    them, drawn evenly, stays: with M modalities the share that goes is rate - rate**M / M. A pure function of its
    arguments, whatever the order of the modalities. Raises `ValueError` for a rate outside [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"The rate of missing modalities lies between 0 and 1; given: {rate}.")
    names = sorted(modalities)
    rng = np.random.default_rng([seed, num_samples])
    dropped = rng.random((num_samples, len(names))) < rate
    kept = rng.integers(max(len(names), 1), size=num_samples)
    empty = np.flatnonzero(dropped.all(axis=1)) if names else np.empty(0, dtype=np.int64)
    dropped[empty, kept[empty]] = False
    return {name: dropped[:, column] for column, name in enumerate(names)}


def conditions(
    modalities: Sequence[str], missing_rates: Sequence[float] = (), num_rows: int = 0, seed: int = 0
) -> dict[str, Keep]:
    """Returns the conditions of a test by their names in records: `full`, `only:m`, `without:m`, `missing:0.25`.

    `num_rows` is the number of rows of the whole data set, which `Batch.index` counts in. With one modality there is
    nothing to take away: only `full` is left.
    """
    plans: dict[str, Keep] = {"full": {}}
    if len(modalities) < 2:
        return plans
    for name in modalities:
        plans[f"only:{name}"] = {other: False for other in modalities if other != name}
    for name in modalities:
        plans[f"without:{name}"] = {name: False}
    for rate in missing_rates:
        plan = drop_plan(num_rows, modalities, rate, seed)
        plans[f"missing:{rate:g}"] = {name: ~dropped for name, dropped in plan.items()}
    return plans


def restrict(batch: Batch, keep: Keep) -> tuple[Batch, int]:
    """Returns the batch with only what `keep` lets stay, and how many samples were left out for having nothing left.

    Taken-away inputs become zeros; `present` and `complete` say so. Raises `KeyError` for a modality the batch lacks.
    """
    unknown = sorted(set(keep) - set(batch.present))
    if unknown:
        raise KeyError(f"The batch has no modality {unknown[0]!r}; it has {sorted(batch.present)}.")
    if not keep:
        return batch, 0
    present = {
        name: value & _mask(keep[name], batch) if name in keep else value for name, value in batch.present.items()
    }
    rows = torch.stack(list(present.values())).any(dim=0)
    masked = replace(
        batch,
        present=present,
        inputs={n: _zeroed(v, present[n]) if n in keep else v for n, v in batch.inputs.items()},
        complete=frozenset(name for name, value in present.items() if bool(value[rows].all())),
    )
    left_out = int((~rows).sum())
    return (_take(masked, rows) if left_out else masked), left_out


def _mask(keep: bool | Bool[np.ndarray, " rows"], batch: Batch) -> Bool[Tensor, " batch"]:
    if isinstance(keep, bool):
        return torch.full((len(batch),), keep, device=batch.index.device)
    return torch.from_numpy(keep[batch.index.cpu().numpy()]).to(batch.index.device)


def _zeroed(value: Inputs, present: Bool[Tensor, " batch"]) -> Inputs:
    def zero(tensor: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        return torch.where(present.view(-1, *[1] * (tensor.ndim - 1)), tensor, torch.zeros_like(tensor))

    return map_inputs(value, zero)


def _take(batch: Batch, rows: Bool[Tensor, " batch"]) -> Batch:
    return replace(
        batch,
        ids=tuple(name for name, stays in zip(batch.ids, rows.tolist(), strict=True) if stays),
        index=batch.index[rows],
        inputs={name: map_inputs(value, lambda t: t[rows]) for name, value in batch.inputs.items()},
        present={name: value[rows] for name, value in batch.present.items()},
        targets=None if batch.targets is None else batch.targets[rows],
        keys=None if batch.keys is None else batch.keys[rows],
    )
