"""What a stage's result depends on, and nothing else: the document whose digest is its address in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from awase.config import EncoderConfig, Input, SelectionConfig, StageConfig
from awase.digest import json_digest

REVISIONS = {
    "format": 1,
    "loop": 3,
    "transforms": 2,
    "encoders": 1,
    "adapters": 1,
    "fusion": 1,
    "objectives": 1,
    "balancing": 1,
    "known_features": 3,
}
"""Raised by hand, one per component, when a change of its code changes results."""


UNREAD: Any = {
    **dict.fromkeys(("name", "start", "teachers", "derived", "only_if"), True),
    "retrieval": {"combinations": {"ensemble": True}},
}
"""Fields of a stage that say nothing of what it trains."""


@dataclass(frozen=True)
class Surroundings:
    """What surrounds a stage and can change its numbers."""

    data_fingerprint: str
    task: str
    classes: tuple[str, ...]
    inputs: Mapping[str, Input]
    encoders: Mapping[str, EncoderConfig]
    selection: SelectionConfig
    seed: int
    device: str
    dtype: str
    threads: int
    world_size: int = 1
    sources: Mapping[str, str] | None = None
    """Digests of the files that a user's own parts come from."""


def stage_document(
    stage: StageConfig,
    parents: Sequence[str],
    initial: str,
    around: Surroundings,
    derived: Mapping[str, Any],
    teachers: Sequence[str] = (),
) -> dict[str, Any]:
    """The slice of everything that stage `stage` reads; its digest is the stage's hash.

    `parents` and `teachers` are the hashes of those stages in order, `initial` the digest of the weights it begins
    with, `derived` the values that were derived for it. The stage's own name is left out: the same
    work under another name is the same work.
    """
    # Stages that are of no stream keep the address that they had before there were streams.
    streamless = {} if stage.stream is not None else {"stream": True}
    body = stage.model_dump(mode="json", exclude={**UNREAD, **streamless})
    return {
        "stage": body,
        "derived": dict(derived),
        "parents": list(parents),
        "teachers": list(teachers),
        "initial": initial,
        "inputs": {name: around.inputs[name].model_dump(mode="json") for name in stage.modalities},
        "encoders": {name: encoder_document(around.encoders[name]) for name in stage.modalities},
        "data": around.data_fingerprint,
        "task": around.task,
        "classes": list(around.classes),
        "selection": around.selection.model_dump(mode="json"),
        "seed": around.seed,
        "device": around.device,
        "dtype": around.dtype,
        "threads": around.threads,
        "world_size": around.world_size,
        "torch": torch.__version__,
        "revisions": REVISIONS,
        "sources": dict(around.sources or {}),
    }


def encoder_document(config: EncoderConfig) -> dict[str, Any]:
    """The configuration of an encoder as JSON; a user's callable by its qualified name."""
    name = config.name if isinstance(config.name, str) else config.name.__qualname__
    pretrained = config.pretrained
    return {"name": name, "options": config.options, "pretrained": bool(pretrained)}


def stage_hash(document: Mapping[str, Any]) -> str:
    """The address of a stage: the digest of its document."""
    return json_digest(dict(document))
