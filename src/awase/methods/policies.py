"""The second stage of a curriculum under its policies, and the stages that some of them add."""

from collections.abc import Mapping
from typing import NamedTuple

from awase.config import (
    BankPolicy,
    CombinationsConfig,
    Curriculum,
    KeptConfig,
    RetrievalConfig,
    StageConfig,
)
from awase.config.policies import FreezePolicy, LowRankPolicy


class Order(NamedTuple):
    """The modalities of the first stage, those added in the second, and the weights of the first one's pairs."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    pairs: Mapping[str, float]


def with_policies(stage: StageConfig, staged: Curriculum, order: Order) -> list[StageConfig]:
    """The naive second stage changed by the policies of the curriculum, and what comes after it.

    Raises `ValueError` for policies where no modality is new.
    """
    if not staged.policy:
        return [stage]
    if not order.new:
        raise ValueError(
            f"A policy keeps old pairs while a modality is added; `first` has all of {', '.join(order.old)}. Leave one "
            "out, or leave out `policy`."
        )
    bank = next((one for one in staged.policy if isinstance(one, BankPolicy)), None)
    if bank is not None:
        return _with_bank(stage, bank, staged, order)
    steps = [one for one in staged.policy if not isinstance(one, FreezePolicy)]
    if not steps:
        return [stage]
    kept = KeptConfig.model_validate({"pairs": dict(order.pairs), "policies": steps})
    changed = _kept(stage, kept)
    if "dns" in kept.names:
        encoders = {f"{name}.encoder" for name in order.old}
        return [changed.model_copy(update={"train": tuple(part for part in changed.train if part not in encoders)})]
    low = next((one for one in kept.policies if isinstance(one, LowRankPolicy)), None)
    return [changed] if low is None else _with_low_rank(changed, low, order)


def _kept(stage: StageConfig, kept: KeptConfig) -> StageConfig:
    trains_state = "ckc" in kept.names and "objective" not in stage.train
    train = (*stage.train, "objective") if trains_state else stage.train
    return stage.model_copy(update={"retrieval": _changed(stage, kept=kept), "train": train})


def _with_low_rank(stage: StageConfig, low: LowRankPolicy, order: Order) -> list[StageConfig]:
    """The old towers learn through adapters, which a stage that trains nothing has in the weights."""
    towers = {f"{name}.{kind}" for name in order.old for kind in ("encoder", "head")}
    train = (*(part for part in stage.train if part not in towers), *(f"{name}.adapter" for name in order.old))
    learning = stage.model_copy(update={"train": train, "adapters": dict.fromkeys(order.old, low.adapter)})
    merged = learning.model_copy(
        update={
            "name": "merged",
            "train": (),
            "start": (stage.name,),
            "adapters": {},
            "retrieval": _changed(stage, kept=None, begin=()),
        }
    )
    return [learning, merged]


# ---- the bank ----------------------------------------------------------------------------------------------------


def _with_bank(stage: StageConfig, bank: BankPolicy, staged: Curriculum, order: Order) -> list[StageConfig]:
    """The new tower and the adapters of its pairs in one stage, or the adapters in a stage after it."""
    assert stage.retrieval is not None, "the stage has a joint space"
    pairs = tuple(stage.retrieval.pairs)
    whole = ("+".join(sorted((*order.old, *order.new))),) if bank.whole else ()
    combinations = CombinationsConfig.model_validate({"keys": (*pairs, *whole), **bank.combination})
    known = [key for key in combinations.keys if not set(key.split("+")) & set(order.new)]
    if known:
        raise ValueError(
            f"The tasks of {', '.join(known)} are answered by the first stage and stay so; a bank has keys with "
            f"{' or '.join(order.new)}, for example {pairs[0]}."
        )
    if not bank.after:
        train = (*stage.train, "*.adapter.*")
        return [stage.model_copy(update={"retrieval": _changed(stage, combinations=combinations), "train": train})]
    epochs = stage.training.epochs
    if epochs < 2 or staged.schedule == "continue":
        raise ValueError(
            "With after=true the second stage's epochs are divided between tower and adapters, each with a schedule of "
            f"its own: give it 2 epochs or more (it has {epochs}) and schedule='restart', or set after=false."
        )
    tower, adapters = (stage.training.model_copy(update={"epochs": n}) for n in (epochs - epochs // 2, epochs // 2))
    space = stage.retrieval.reconstruction.model_copy(update={"weight": 0.0})
    config = _changed(stage, combinations=combinations, pairs={}, clustering=None, clustered=(), reconstruction=space)
    last = StageConfig(
        name="combinations",
        modalities=stage.modalities,
        train=("*.adapter.*",),
        start=(stage.name,),
        retrieval=config.model_copy(update={"begin": ()}),
        training=adapters,
    )
    return [stage.model_copy(update={"training": tower}), last]


def _changed(stage: StageConfig, **changes: object) -> RetrievalConfig:
    assert stage.retrieval is not None, "the stage has a joint space"
    return RetrievalConfig.model_validate({**stage.retrieval.model_dump(), **changes})
