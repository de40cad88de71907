"""Multimodal clustering networks (MCN, Chen et al. 2021): one joint space, trained at once or in two stages."""

from itertools import combinations
from typing import Any

from awase.config import Curriculum, Node, RetrievalConfig, StageConfig, TrainConfig
from awase.methods.context import Changes, MethodContext, changed
from awase.methods.policies import Order, with_policies

Settings = dict[str, Any]
"""Fields of a `RetrievalConfig` to change."""


def mcn(
    context: MethodContext,
    pairs: tuple[str, ...] = (),
    staged: Curriculum | None = None,
    retrieval: Settings | None = None,
    training: Changes | None = None,
) -> list[Node]:
    """Every modality in one space: pairs drawn together, clusters of their mean contrasted, features rebuilt.

    Without `staged` the losses of `pairs` (`audio+video`; empty: all) are summed in one stage, over the modalities
    they name. With it (`config.Curriculum`) some modalities are trained first and then all. `retrieval` changes fields
    of the objective and of the space (`config.RetrievalConfig`).
    """
    config = RetrievalConfig.model_validate(retrieval or {})
    unknown = sorted(set(config.pairs) - set(all_pairs(context.modalities)))
    if unknown:
        valid = ", ".join(all_pairs(context.modalities))
        raise ValueError(f"There is a weight for {', '.join(unknown)}, which is no pair; valid names: {valid}.")
    named = () if config.targets is None else config.targets.pairs
    foreign = [name for name in named if not set(name.split("+")) <= set(context.modalities)]
    if foreign:
        raise ValueError(
            f"There are targets for {', '.join(foreign)}; the modalities are {', '.join(context.modalities)}."
        )
    schedule = changed(context.joint_from_start, training)
    if config.kept is not None:
        raise ValueError("`retrieval.kept` is written from the policy of a curriculum; set `staged.policy` instead.")
    if staged is not None:
        if pairs:
            raise ValueError("A staged run derives its pairs from `staged`; leave `pairs` empty.")
        return _staged(context, staged, config, schedule)
    wanted = pairs or all_pairs(context.modalities)
    modalities = covered(context, wanted)
    return [_stage("joint", modalities, _with_pairs(config, wanted), schedule)]


def all_pairs(modalities: tuple[str, ...]) -> tuple[str, ...]:
    """The names of all pairs, each sorted: `audio+video`."""
    return tuple("+".join(sorted(pair)) for pair in combinations(modalities, 2))


def covered(context: MethodContext, pairs: tuple[str, ...]) -> tuple[str, ...]:
    """The modalities that the pairs name, in the experiment's order; raises `ValueError` for a name that is no pair."""
    valid = all_pairs(context.modalities)
    unknown = sorted(set(pairs) - set(valid))
    if unknown:
        raise ValueError(f"There is no pair {', '.join(unknown)}; valid names: {', '.join(valid)}.")
    return tuple(name for name in context.modalities if any(name in pair.split("+") for pair in pairs))


def _staged(context: MethodContext, staged: Curriculum, config: RetrievalConfig, training: TrainConfig) -> list[Node]:
    context.check(staged.first)
    old = tuple(name for name in context.modalities if name in staged.first)
    new = tuple(name for name in context.modalities if name not in staged.first)
    known = set(all_pairs(old))
    every = all_pairs(context.modalities)
    first_training, second_training = _divided(staged, training)
    first = _stage(
        "+".join(sorted(old)),
        old,
        _with_pairs(config, tuple(sorted(known))).model_copy(update={"shuffle_pairs": staged.shuffle_first}),
        first_training,
    )
    wanted = every if staged.second == "relaxed" or not new else tuple(pair for pair in every if pair not in known)
    second = _with_pairs(config, wanted).model_copy(update={"begin": staged.begin})
    if staged.terms == "new" and new:
        second = second.model_copy(update={"clustered": new, "reconstructed": new})
    stage = _stage("joint", context.modalities, second, second_training, held=old if staged.stands_still else ())
    order = Order(old, new, {pair: config.pairs.get(pair, 1.0) for pair in sorted(known)})
    return [first, *with_policies(stage.model_copy(update={"start": (first.name,)}), staged, order)]


def _divided(staged: Curriculum, training: TrainConfig) -> tuple[TrainConfig, TrainConfig]:
    """The training of both stages; raises `ValueError` where there are not epochs enough for two."""
    epochs = round(staged.share * training.epochs)
    if not 0 < epochs < training.epochs:
        raise ValueError(
            f"{training.epochs} epochs cannot be divided in two with {staged.share:.0%} for the first stage; give more."
        )
    if staged.schedule == "restart":
        spans = ((0.0, 1.0), (0.0, 1.0))
    else:
        warmup = training.warmup_epochs
        if warmup >= epochs:
            raise ValueError(
                f"Warm-up of {warmup:g} epochs does not end in the first stage, which has {epochs}; shorten it, or let "
                "the schedule restart."
            )
        passed = (epochs - warmup) / (training.epochs - warmup)  # of the schedule, which begins after warm-up
        spans = ((0.0, passed), (passed, 1.0))
    first, second = (
        {"epochs": count, "schedule_from": begin, "schedule_to": end}
        for count, (begin, end) in zip((epochs, training.epochs - epochs), spans, strict=True)
    )
    if staged.schedule == "continue":
        second["warmup_epochs"] = 0.0
    return changed(training, first), changed(training, second)


def _with_pairs(config: RetrievalConfig, pairs: tuple[str, ...]) -> RetrievalConfig:
    """The configuration with the losses of these pairs alone, at the weights that it names, else 1.

    Without targets where these are of none of the pairs: the stage is then the one of a method that has none.
    """
    changes: dict[str, Any] = {"pairs": {pair: config.pairs.get(pair, 1.0) for pair in pairs}}
    if config.targets is not None and config.targets.pairs and not set(config.targets.pairs) & set(pairs):
        changes["targets"] = None
    return config.model_copy(update=changes)


def _stage(
    name: str,
    modalities: tuple[str, ...],
    config: RetrievalConfig,
    training: TrainConfig,
    held: tuple[str, ...] = (),
) -> StageConfig:
    """The stage in which the towers of all modalities but those `held` learn, and the state of the objective."""
    learning = [name for name in modalities if name not in held]
    kinds = ["encoder", "head", *(["reconstruction"] if config.space.reconstruction else [])]
    parts = [f"{name}.{kind}" for name in learning for kind in kinds]
    has_state = config.clustering is not None or config.learn_temperature
    return StageConfig(
        name=name,
        modalities=modalities,
        train=(*parts, *(("objective",) if has_state else ())),
        retrieval=config,
        training=training,
    )
