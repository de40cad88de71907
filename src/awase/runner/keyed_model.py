"""A trained model with adapters put into it as a key: read from PEFT's files, or merged from other keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from awase.adapters import Bank, load_peft
from awase.adapters.adapter import Adapter
from awase.adapters.bank import DEFAULT_KEY
from awase.config import AdapterConfig, CombinationsConfig, RetrievalConfig, StageConfig
from awase.files import whole_folder
from awase.models import Retrieval, one_modality, plain
from awase.models.plain import SHARED
from awase.runner.build import Model, build_model
from awase.runner.folded import described
from awase.runner.nodes import load_tensors
from awase.runner.restored import open_model, save_model
from awase.runner.saved import without_weights
from awase.runner.spec import SavedModel

ADAPTED = ".lora."
Found = Mapping[str, Mapping[str, Adapter]]
"""Modality -> layer of its `OneModality` (`encoder.network...`, `head...`) -> adapter."""


def import_peft(
    source: str | Path, adapters: Path, out: Path, *, key: str | None = None, cache: Path | None = None
) -> int:
    """Writes the model in `source` (a run or a saved model) with the adapters in `adapters` to the new folder `out`.

    In `adapters` is a folder per modality as PEFT writes it, over `plain(model, modality, "shared")`; what `awase
    export --format peft` wrote is that. In a joint space they become `key`, `audio+text`, beside the other keys; a key
    that is there already is replaced. In a classifier they take the place of its adapters, and there is no key.
    Returns the number of layers. Raises `ValueError` for a key that is none, modalities that the folder lacks, and
    layers on which the model has no place for adapters, `FileExistsError` where `out` is.
    """
    saved, model, _ = open_model(source, cache=cache)
    if isinstance(model, Retrieval) == (key is None):
        raise ValueError(
            "Adapters of a joint space need a key, such as --key audio+text."
            if key is None
            else "A classifier has adapters of no key; leave --key out."
        )
    wanted = key.split("+") if key is not None else [n for n in model.modalities if (adapters / n).is_dir()]
    unknown = [name for name in wanted if name not in model.modalities]
    if unknown:
        raise ValueError(f"There is no modality {', '.join(unknown)}; the model has {', '.join(model.modalities)}.")
    absent = [name for name in wanted if not (adapters / name).is_dir()]
    if absent or not wanted:
        raise ValueError(
            f"{adapters} has no folder {', '.join(absent or model.modalities)}; a folder of adapters is needed per "
            "modality, named after it."
        )
    found = {name: _read(model, name, adapters / name, key or DEFAULT_KEY) for name in wanted}
    with whole_folder(out) as folder:
        save_model(folder, *with_adapters(saved, model, found, key=key))
    return sum(len(layers) for layers in found.values())


def with_adapters(
    saved: SavedModel, model: Model, found: Found, *, key: str | None = None, keep: bool = True
) -> tuple[SavedModel, Model]:
    """A copy of the model in which the adapters found are those of `key`, and its description.

    Without `keep` it has no other key. Adapters of smaller ranks are filled up with zeros, and scales that the
    configuration does not have are multiplied into B. Raises `ValueError` as `import_peft` does.
    """
    stage = _stage_with(saved.stage, found, key, keep)
    new = described(saved, stage)
    bare = without_weights(new)
    made = build_model(bare.stage, bare.spec, bare.derived)
    own, target = made.state_dict(), f"{ADAPTED}{key or DEFAULT_KEY}."
    load_tensors(made, {name: v for name, v in model.state_dict().items() if name in own and target not in name})
    for modality, layers in found.items():
        _fill(Bank(one_modality(made, modality)).adapters(key or DEFAULT_KEY), layers, modality)
    return new, made.eval()


def _read(model: Model, modality: str, folder: Path, key: str) -> dict[str, Adapter]:
    return load_peft(plain(model, modality, SHARED), folder, key).adapters(key)


def _stage_with(stage: StageConfig, found: Found, key: str | None, keep: bool) -> StageConfig:
    ranks = {name: max(one.rank for one in layers.values()) for name, layers in found.items()}
    if key is None:
        adapters = {name: _adapter_config(name, layers, ranks[name]) for name, layers in found.items()}
        return stage.model_copy(update={"adapters": {**stage.adapters, **adapters}})
    assert stage.retrieval is not None, "only a joint space has keys"
    combinations = stage.retrieval.combinations
    rank = max(ranks.values())
    fields: dict[str, Any] = {"keys": (key,), "ranks": {key: rank}}
    if combinations is None:
        fields |= {"place": _place(found), "adapters": _encoder_adapters(found, rank)}
    else:
        fields = {**combinations.model_dump(), "learn": (), "of_set": "one_versus_fused", "tether": 0.0, **fields}
        fields["keys"] = tuple(dict.fromkeys((*(combinations.keys if keep else ()), key)))  # in their order
        fields["ranks"] = {**{k: v for k, v in combinations.ranks.items() if k in fields["keys"]}, key: rank}
        for name in ("weights", "temperatures"):
            fields[name] = {one: value for one, value in fields[name].items() if one in fields["keys"]}
    retrieval = {**stage.retrieval.model_dump(), "combinations": CombinationsConfig.model_validate(fields)}
    return stage.model_copy(update={"retrieval": RetrievalConfig.model_validate(retrieval)})


def _place(found: Found) -> str:
    """Where the adapters of a key lie in a space that had none before."""
    places = {frozenset(layer.partition(".")[0] for layer in layers) for layers in found.values()}
    if len(places) > 1:
        raise ValueError(
            "The adapters of a key lie in the same place in all its modalities; in some of "
            f"{', '.join(found)} they are in the encoder or the head, in others not."
        )
    (place,) = places
    return "both" if len(place) > 1 else next(iter(place))


def _encoder_adapters(found: Found, rank: int) -> dict[str, AdapterConfig]:
    inside = {name: {n: a for n, a in layers.items() if n.startswith("encoder.")} for name, layers in found.items()}
    return {name: _adapter_config(name, layers, rank) for name, layers in inside.items() if layers}


def _adapter_config(modality: str, layers: Mapping[str, Adapter], rank: int) -> AdapterConfig:
    outside = [name for name in layers if not name.startswith("encoder.")]
    if outside:
        raise ValueError(f"Adapters of a classifier lie in its encoders; those of {modality!r} are on {outside[0]}.")
    dropout = next(iter(layers.values())).dropout
    return AdapterConfig(targets=tuple(name.removeprefix("encoder.") for name in layers), rank=rank, dropout=dropout)


@torch.no_grad()
def _fill(places: Mapping[str, Adapter], layers: Mapping[str, Adapter], modality: str) -> None:
    odd = sorted(set(layers) - set(places))
    if odd:
        raise ValueError(
            f"The adapters of {modality!r} are also on {', '.join(odd[:3])}, where this model's keys have none; they "
            f"are on {', '.join(list(places)[:3])} and {max(0, len(places) - 3)} more."
        )
    for name, given in layers.items():
        place = places[name]
        a, b = _widened(given, place)
        place.A.copy_(a)
        place.B.copy_(b * (given.scale / place.scale))


def _widened(given: Adapter, place: Adapter) -> tuple[Tensor, Tensor]:
    """A and B of a smaller rank with rows and columns of zeros; of a grouped convolution within each group."""
    missing = place.rank - given.rank
    if missing == 0:
        return given.A, given.B
    groups = given.A.shape[0] // given.rank
    a = given.A.unflatten(0, (groups, given.rank))
    a = torch.cat([a, a.new_zeros(groups, missing, *a.shape[2:])], dim=1).flatten(0, 1)
    return a, torch.cat([given.B, given.B.new_zeros(given.B.shape[0], missing, *given.B.shape[2:])], dim=1)
