"""One adapter for every combination of modalities over one joint space, all trained in the same steps."""

from itertools import combinations
from typing import Any

from awase.config import CombinationsConfig, Node, RetrievalConfig, StageConfig
from awase.methods.context import Changes, MethodContext, changed
from awase.methods.mcn import Settings, all_pairs, mcn

Combination = dict[str, Any]
"""Fields of a `CombinationsConfig` to change."""


def pair_adapters(
    context: MethodContext,
    keys: tuple[str, ...] = (),
    together: bool = False,
    combination: Combination | None = None,
    retrieval: Settings | None = None,
    training: Changes | None = None,
    shared_training: Changes | None = None,
) -> list[Node]:
    """A shared space as of `mcn`, and adapters of `keys` (`audio+text`; empty: every pair, and all modalities).

    The shared space is trained first and stands still while the adapters learn; with `together` both learn in one
    stage. A task is asked under the adapters of its own modalities, or in the shared space where it has none.
    `combination` changes fields of `config.CombinationsConfig`, `retrieval` those of the space
    (`config.RetrievalConfig`), `training` the last stage and `shared_training` the shared one before it.
    """
    wanted = keys or every_combination(context.modalities)
    unknown = sorted(set(wanted) - set(possible_combinations(context.modalities)))
    if unknown:
        valid = ", ".join(possible_combinations(context.modalities))
        raise ValueError(f"There is no combination {', '.join(unknown)}; valid names: {valid}.")
    adapters = CombinationsConfig.model_validate({**(combination or {}), "keys": wanted})
    if together and shared_training:
        raise ValueError("With together=true there is one stage: set `training`, and leave `shared_training` empty.")
    (shared,) = mcn(context, retrieval=retrieval, training=training if together else shared_training)
    assert isinstance(shared, StageConfig), "a joint space is one stage"
    assert shared.retrieval is not None, "the stage has a joint space"
    targets = (retrieval or {}).get("targets")  # which the shared stage lacks where none of its pairs has any
    if together:
        both = RetrievalConfig.model_validate(
            {**shared.retrieval.model_dump(), "combinations": adapters, "targets": targets}
        )
        return [shared.model_copy(update={"retrieval": both, "train": (*shared.train, "*.adapter.*")})]
    space = {**shared.retrieval.model_dump(), "pairs": {}, "clustering": None, "combinations": adapters}
    space["targets"] = targets
    space["reconstruction"] = {**space["reconstruction"], "weight": 0.0}
    stage = StageConfig(
        name="combinations",
        modalities=shared.modalities,
        train=("*.adapter.*",),
        start=(shared.name,),
        retrieval=RetrievalConfig.model_validate(space),
        training=changed(context.joint, training),
    )
    return [shared, stage]


def every_combination(modalities: tuple[str, ...]) -> tuple[str, ...]:
    """Every pair, and of three or more modalities all of them together.

    >>> every_combination(("video", "audio", "text"))
    ('audio+video', 'text+video', 'audio+text', 'audio+text+video')
    """
    whole = ("+".join(sorted(modalities)),) if len(modalities) > 2 else ()
    return (*all_pairs(modalities), *whole)


def possible_combinations(modalities: tuple[str, ...]) -> tuple[str, ...]:
    """Every set of two or more modalities."""
    sizes = range(2, len(modalities) + 1)
    return tuple("+".join(sorted(some)) for size in sizes for some in combinations(modalities, size))
