"""The models that tell whether adapters per pair are worth it: one space, a space per pair, and what lies between."""

from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from awase.config import MethodConfig, RetrievalConfig
from awase.methods.mcn import all_pairs

JOINT, WIDE, LONGER, ADAPTERS = "joint", "joint-wide", "joint-longer", "pair_adapters"
Settings = dict[str, JsonValue]


def alone(pair: str) -> str:
    """The label of the space that is trained on one pair and nothing else."""
    return f"alone-{pair}"


def heads(pair: str) -> str:
    """The label of one pair's own projections over the joint space."""
    return f"heads-{pair}"


def headroom_methods(
    modalities: Sequence[str], joint: MethodConfig, adapters: MethodConfig | None, epochs: int
) -> tuple[MethodConfig, ...]:
    """The joint space, every pair alone, pairs under projections and under adapters of their own, and the controls.

    The space and its training are those of `joint` (a `mcn`), of all pairs; adapters and theirs are those of `adapters`
    (a `pair_adapters`), of every pair, over the finished joint space. Every pair alone has weight 1 and takes as many
    epochs as all pairs together. `joint-wide` has M - 1 times the dimension for M modalities, so that an item stores as
    many numbers as in one space per pair; `joint-longer` trains for `epochs`, those of the joint space and of the
    adapters together. All try the candidates of `joint`.
    """
    retrieval, training = _fields(joint, "retrieval"), _fields(joint, "training")
    own = {} if adapters is None or adapters.settings.get("together") else _fields(adapters, "training")
    combination = {} if adapters is None else _fields(adapters, "combination")
    pairs = all_pairs(tuple(modalities))
    wide = _widened(retrieval, len(modalities) - 1)
    over = {"retrieval": retrieval, "training": own, "shared_training": training}
    found: list[tuple[str, str, dict[str, Any]]] = [
        ("mcn", JOINT, {"retrieval": retrieval, "training": training}),
        ("mcn", WIDE, {"retrieval": wide, "training": training}),
        ("mcn", LONGER, {"retrieval": retrieval, "training": {**training, "epochs": epochs}}),
        *(
            ("mcn", alone(pair), {"pairs": [pair], "retrieval": _of_pair(retrieval, pair), "training": training})
            for pair in pairs
        ),
        *(("pair_heads", heads(pair), {"pair": pair, **over}) for pair in pairs),
        ("pair_adapters", ADAPTERS, {"keys": list(pairs), "combination": _of_pairs(combination, pairs), **over}),
    ]
    return tuple(
        MethodConfig(method=method, label=label, settings=settings, candidates=joint.candidates)
        for method, label, settings in found
    )


def _fields(method: MethodConfig, name: str) -> Settings:
    found = method.settings.get(name) or {}
    assert isinstance(found, dict), "the settings of a method are fields by name"
    return found


def _widened(retrieval: Settings, times: int) -> Settings:
    space = RetrievalConfig.model_validate(retrieval).space
    given = retrieval.get("space") or {}
    assert isinstance(given, dict), "a space was just made of it"
    return {**retrieval, "space": {**given, "dim": times * space.dim}}


def _of_pair(retrieval: Settings, pair: str) -> Settings:
    """Without weights, which set pairs against each other, and without terms of other modalities."""
    found: Settings = {name: value for name, value in retrieval.items() if name != "pairs"}
    for name in ("clustered", "reconstructed"):
        given = found.get(name)
        if isinstance(given, list):
            found[name] = [modality for modality in given if modality in pair.split("+")]
    return found


def _of_pairs(combination: Settings, pairs: Sequence[str]) -> Settings:
    """Without what is of other keys; all of them learn."""
    found: Settings = {name: value for name, value in combination.items() if name not in ("learn", "keys")}
    for name in ("weights", "temperatures"):
        given = found.get(name)
        if isinstance(given, dict):
            found[name] = {key: value for key, value in given.items() if key in pairs}
    return found
