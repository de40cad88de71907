"""Keys of a finished run merged into one, which is written only where validation does not find it worse than none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from awase.adapters import Bank, merged_adapters
from awase.adapters.merging import KEPT
from awase.evaluation import Direction, Embedded, directions
from awase.evaluation.directions import ranks_between, sides_of
from awase.files import whole_folder, write_text
from awase.models import Retrieval, one_modality
from awase.records import read_record
from awase.runner.again import reopen_setting
from awase.runner.keyed_model import Found, with_adapters
from awase.runner.restored import save_model
from awase.runner.setting import Setting
from awase.runner.space import Space
from awase.runner.space_scores import embed_split
from awase.statistics import Difference, paired_difference

SPLIT = "val"
FILE = "merge.json"


@dataclass(frozen=True)
class MergedKey:
    """What validation says of a merged key: `metric` is the mean over the queries of `directions`, all together."""

    key: str
    keys: tuple[str, ...]
    rule: str
    weights: dict[str, float]
    rank: int
    metric: str
    directions: tuple[str, ...]
    merged: float
    shared: float
    own: float
    against_shared: Difference
    against_own: Difference

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def merge_run(
    folder: Path,
    keys: Sequence[str],
    out: Path,
    *,
    rule: str = "linear",
    weights: Mapping[str, float] | None = None,
    rank: int | None = None,
    kept: float = KEPT,
    device: str = "auto",
    cache: Path | None = None,
) -> MergedKey:
    """Merges keys of the run in `folder`, measures that on validation, and writes a model that has this key alone.

    The key is that of all their modalities together. In every modality the keys that it has are merged as
    `merged_adapters` says; `weights` (1 where a key is not named) are divided there by their sum. Measured are the
    directions within each of the keys: R@k with the k of the run's selection metric, else R@1, against the shared
    space, and against every direction's own key; a bootstrap over validation's samples (groups as one), paired.
    Nothing but validation is read. Raises `ValueError` where the merged key is worse than the shared space, and
    nothing is written then; for keys that are not there, fewer than two of them, and a run that is no joint space.
    """
    space = Space.from_pretrained(folder, device=device, cache=cache)
    factors = _checked(space.model, keys, weights or {})
    record = read_record(folder)
    setting = reopen_setting(folder, record, space.saved, device=device, cache=cache)
    key = "+".join(sorted({name for one in keys for name in one.split("+")}))
    found = _merged(space.model, factors, rule=rule, rank=rank, kept=kept)
    saved, model = with_adapters(space.saved, space.model, found, key=key, keep=False)
    assert isinstance(model, Retrieval), "a joint space stays one"
    chosen = [one for one in directions(space.modalities) if any(one.modalities <= set(k.split("+")) for k in keys)]
    metric = setting.experiment.selection.metric.partition(" ")[0]
    k = int(metric[2:]) if metric.startswith("R@") else 1
    hits, groups = _hits(space.model, model.to(setting.device), key, chosen, k, space.cosine, setting)
    result = MergedKey(
        key=key,
        keys=tuple(keys),
        rule=rule,
        weights=factors,
        rank=max(one.rank for layers in found.values() for one in layers.values()),
        metric=f"R@{k}",
        directions=tuple(map(str, chosen)),
        **{name: float(values.mean()) for name, values in hits.items()},
        against_shared=paired_difference(hits["merged"], hits["shared"], groups),
        against_own=paired_difference(hits["merged"], hits["own"], groups),
    )
    if result.against_shared.difference < 0:
        raise ValueError(
            f"The merged key is worse than the shared space on validation and is not written: R@{k} "
            f"{result.merged:.4f} against {result.shared:.4f}. {result.against_shared.sentence} Try another rule, "
            "other weights or fewer keys; the keys themselves stay as they are."
        )
    with whole_folder(out) as place:
        save_model(place, saved, model)
        write_text(place / FILE, json.dumps(result.to_dict(), indent=1) + "\n")
    return result


def _checked(model: Retrieval, keys: Sequence[str], weights: Mapping[str, float]) -> dict[str, float]:
    unknown = [key for key in (*keys, *weights) if key not in model.combinations]
    if unknown:
        there = ", ".join(model.combinations) or "none"
        raise ValueError(f"The run has no key {', '.join(unknown)}; it has {there}.")
    idle = [key for key in weights if key not in keys]
    if idle or len(set(keys)) < 2 or len(set(keys)) < len(keys):
        raise ValueError(
            f"Two or more different keys are merged, and weights are of these; given: {', '.join(keys)}"
            f"{f' and a weight of {idle[0]}' if idle else ''}."
        )
    if any(not value > 0 for value in weights.values()):
        raise ValueError(f"The weight of a key that is merged is above 0; given: {dict(weights)}.")
    return {key: float(weights.get(key, 1.0)) for key in keys}


def _merged(model: Retrieval, weights: Mapping[str, float], *, rule: str, rank: int | None, kept: float) -> Found:
    """The merged adapters of every modality that the keys have; one that only one key has keeps that key's, exactly."""
    found = {}
    for name in model.modalities:
        own = {key: value for key, value in weights.items() if name in key.split("+")}
        if own:
            shares = {key: value / sum(own.values()) for key, value in own.items()}
            used = rule if len(own) > 1 else "linear"
            found[name] = merged_adapters(Bank(one_modality(model, name)), shares, rule=used, rank=rank, kept=kept)
    return found


def _hits(
    model: Retrieval, merged: Retrieval, key: str, chosen: Sequence[Direction], k: int, cosine: bool, setting: Setting
) -> tuple[dict[str, Float[np.ndarray, "1 queries"]], list[Any]]:
    """Whether every query of every direction finds its item among the first k: merged, shared, under its own key.

    And the group of each query: its sample's, or its clip.
    """
    before, after = embed_split(model, SPLIT, setting), embed_split(merged, SPLIT, setting)
    spaces = {
        "merged": replace(after, embeddings={**after.embeddings, **after.keyed[key]}, keyed={}),
        "shared": replace(before, keyed={}),
        "own": before,
    }
    hits: dict[str, list[np.ndarray]] = {name: [] for name in spaces}
    groups: list[Any] = []
    for one in chosen:
        for name, embedded in spaces.items():
            sides = sides_of(embedded, one, cosine=cosine, device=setting.device)
            ranks = ranks_between(sides).cpu().numpy()
            hits[name].append((ranks >= 0) & (ranks < k))
        groups += _groups(before, sides.asking.cpu().numpy(), setting)
    return {name: np.concatenate(parts)[None].astype(float) for name, parts in hits.items()}, groups


def _groups(embedded: Embedded, asking: np.ndarray, setting: Setting) -> list[Any]:
    own = setting.dataset.groups
    if own is not None:
        return [own[row] for row in embedded.index.numpy()[asking].tolist()]
    return list(embedded.clips.numpy()[asking].tolist())
