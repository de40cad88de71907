"""The only place where a stage's names become a model."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from awase.adapters import Bank
from awase.adapters.bank import DEFAULT_KEY
from awase.config import CombinationsConfig, StageConfig
from awase.encoders import build_encoder, build_projection, reconstruction_head
from awase.fusion import build_fusion, needs_heads
from awase.models import Classifier, Retrieval
from awase.runner.space_state import SpaceState
from awase.runner.spec import ModelSpec

OBJECTIVE = "objective"
"""The key of what is derived for a stage's objective, not for its fusion."""


def part_seed(seed: int, part: str) -> int:
    """The seed of a part's initial weights: a function of the run's seed and the part's name alone."""
    return int.from_bytes(hashlib.blake2b(f"{seed}|{part}".encode(), digest_size=4).digest(), "big")


def build_classifier(stage: StageConfig, spec: ModelSpec, derived: Mapping[str, Any]) -> Classifier:
    """The model of a stage with its initial weights; the same part has the same initial weights in every stage.

    `derived` holds the values that were derived for the stage; its fusion options are read here.
    """
    encoders = {name: _build_encoder(name, stage, spec) for name in stage.modalities}
    dims = {name: int(encoder.dim) for name, encoder in encoders.items()}
    num_classes = len(spec.classes)
    heads: dict[str, nn.Module] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(part_seed(spec.seed, "fusion"))
        options = {**stage.fusion.options, **{k: v for k, v in derived.items() if k != OBJECTIVE}}
        fusion = build_fusion(stage.fusion.name, dims, num_classes, options, spec.multi_label, encoders)
        if needs_heads(stage.fusion.name) or stage.own_heads:
            for name, dim in fusion.feature_dims.items():
                torch.manual_seed(part_seed(spec.seed, f"{name}.head"))
                heads[name] = nn.Linear(dim, num_classes)
    return Classifier(encoders, heads, fusion, _routes(stage, spec, fusion.feature_dims))


def _routes(stage: StageConfig, spec: ModelSpec, dims: Mapping[str, int]) -> dict[str, dict[str, nn.Module]]:
    """The heads of every key of a bank: key -> modality -> head."""
    routes: dict[str, dict[str, nn.Module]] = {}
    for key in keys_of(stage):
        routes[key] = {}
        for name, dim in dims.items():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(part_seed(spec.seed, f"{name}.head.{key}"))
                routes[key][name] = nn.Linear(dim, len(spec.classes))
    return routes


def keys_of(stage: StageConfig) -> tuple[str, ...]:
    """The data sets of a stream that have adapters and heads of their own in the stage's model."""
    return () if stage.stream is None else stage.stream.keys


def build_retrieval(stage: StageConfig, spec: ModelSpec) -> Retrieval:
    """The model of a stage in a joint space, with initial weights that depend on the seed and each part's name."""
    config = stage.retrieval
    assert config is not None, "the stage has a joint space"
    encoders = {name: _build_encoder(name, stage, spec) for name in stage.modalities}
    projections, reconstructions = dict[str, nn.Module](), dict[str, nn.Module]()
    space = config.space
    with torch.random.fork_rng(devices=[]):
        for name, encoder in encoders.items():
            torch.manual_seed(part_seed(spec.seed, f"{name}.head"))
            projections[name] = build_projection(space.projection_of(name), int(encoder.dim), space.dim)
            if name in stage.adapters:  # of the tower: in the encoder and here
                own = stage.adapters[name].model_copy(update={"targets": "*", "last_layers": None})
                for key in keys_of(stage) or (DEFAULT_KEY,):
                    seed = part_seed(spec.seed, f"{name}.adapter.{_dotted(key)}head")
                    Bank.inject(projections[name], own, key=key, seed=seed)
            if space.reconstruction is not None:
                torch.manual_seed(part_seed(spec.seed, f"{name}.reconstruction"))
                head = reconstruction_head(space.dim, space.reconstruction, int(encoder.dim))
                reconstructions[name] = head if space.rectify else head[:-1]
    state, combinations = SpaceState(config, part_seed(spec.seed, "objective")), config.combinations
    if combinations is None:
        return Retrieval(encoders, projections, reconstructions, state, routes=keys_of(stage))
    for name in stage.modalities:
        _add_combinations(name, encoders[name], projections[name], combinations, spec.seed)
    return Retrieval(
        encoders,
        projections,
        reconstructions,
        state,
        combinations.keys,
        execution=combinations.execution,
        apart=combinations.gradient == "adapters",
    )


def _add_combinations(name: str, encoder: nn.Module, head: nn.Module, config: CombinationsConfig, seed: int) -> None:
    """Gives a modality an adapter for every combination in which it takes part; none of them acts yet."""
    for place, module in {"encoder": encoder, "head": head}.items():
        if config.place not in (place, "both"):
            continue
        for key in (key for key in config.keys if name in key.split("+")):
            chosen = config.adapter_of(name, key)
            if place == "head":
                chosen = chosen.model_copy(update={"targets": "*", "last_layers": None})
            Bank.inject(module, chosen, key=key, seed=part_seed(seed, f"{name}.adapter.{key}.{place}"))
        Bank(module).activate(None)


Model = Classifier | Retrieval


def build_model(stage: StageConfig, spec: ModelSpec, derived: Mapping[str, Any]) -> Model:
    """The model of a stage: a joint space where the stage has one, else a classifier."""
    return build_classifier(stage, spec, derived) if stage.retrieval is None else build_retrieval(stage, spec)


def _build_encoder(name: str, stage: StageConfig, spec: ModelSpec) -> Any:
    encoder = build_encoder(
        spec.encoders[name],
        kind=spec.inputs[name].kind,
        input_shape=spec.shapes[name],
        seed=part_seed(spec.seed, f"{name}.encoder"),
        allow_pickle=spec.allow_pickle,
    )
    plain = stage.retrieval is not None and not any(True for _ in encoder.parameters())  # features, given as they are
    if plain:
        return encoder
    for key in keys_of(stage):
        Bank.inject(encoder, stage.adapters[name], key=key, seed=part_seed(spec.seed, f"{name}.adapter.{key}"))
    if name in stage.adapters and not keys_of(stage):
        Bank.inject(encoder, stage.adapters[name], seed=part_seed(spec.seed, f"{name}.adapter"))
    return encoder


def _dotted(key: str) -> str:
    """The key in the name of a part, which the one of whole towers has not."""
    return "" if key == DEFAULT_KEY else f"{key}."
