"""Continual learning: one stage per data set of a stream, each seeing only its own rows."""

from glob import escape
from typing import Any, Literal

from awase.config import AdapterConfig, FusionConfig, Node, ObjectiveConfig, StageConfig, StageStream, TrainConfig
from awase.config.policies import LowRankPolicy
from awase.methods.context import Changes, MethodContext, changed
from awase.methods.joint import ON_HEADS, trained_parts

Policy = Literal["naive", "freeze", "replay", "lwf", "ewc", "low_rank", "bank", "alone"]
StreamFusion = Literal["late_mean", "sum", "concat", "mlp"]

TRAININGS = ("training", "first_training")
SETTINGS: dict[str, tuple[str, ...]] = {
    "naive": TRAININGS,
    "freeze": TRAININGS,
    "replay": ("share", *TRAININGS),
    "lwf": ("distillation", "distilled", "temperature", *TRAININGS),
    "ewc": ("strength", "fisher_rows", *TRAININGS),
    "low_rank": ("low_rank", *TRAININGS),
    "bank": ("adapter", "base", *TRAININGS),
    "alone": ("first_training",),
}
"""The settings that a policy reads besides `fusion`."""


def continual(
    context: MethodContext,
    policy: Policy = "naive",
    fusion: StreamFusion = "late_mean",
    share: float | None = None,
    distillation: float | None = None,
    distilled: Literal["logits", "features"] | None = None,
    temperature: float | None = None,
    strength: float | None = None,
    fisher_rows: int | None = None,
    low_rank: LowRankPolicy | None = None,
    adapter: AdapterConfig | None = None,
    base: Literal["first", "initial"] | None = None,
    training: Changes | None = None,
    first_training: Changes | None = None,
) -> list[Node]:
    """A stage per data set of the stream, in its order; each trains and validates on the rows of that data set alone.

    - `naive`: a later stage trains everything on.
    - `freeze`: the heads (or the fusion) alone; the encoders stand still after the first stage.
    - `replay`: everything, also on `share` (0.1) of the training rows of every earlier data set.
    - `lwf`: the loss has `distillation` (1) times the distance to the stage before on the new rows: of `distilled`
      logits, T^2 KL over the classes seen before at the `temperature` T (2), or of features.
    - `ewc`: the loss has `strength` (100) / 2 sum F (theta - theta*)^2 around the weights after every earlier stage, F
      from at most `fisher_rows` (512) of its rows.
    - `low_rank`: the encoders through adapters alone, which are in the weights when the next stage begins, and the
      heads. `low_rank` are fields of `config.policies.LowRankPolicy`: the rank (8), and `directions` that leave
      alone what the layers take of the earlier data sets' rows (InfLoRA, KeepLoRA, OSRM), or a `weight` (O-LoRA).
    - `bank`: one `adapter` (rank 8) per encoder and heads of the data set's own, over a base that stands still: the
      `first` stage, which answers for its data set, or the `initial` weights. A row is answered by its data set's.
    - `alone`: every stage begins from the initial weights, a model per data set: how well each can be learned.

    A stage from the initial weights trains as such stages do, with the changes `first_training`; the others as those
    that begin from earlier stages, with the changes `training`. Joint training on all rows is the method `joint`.
    Raises `ValueError` for data that is no stream of two or more data sets, for a setting that the policy does not
    read, and for a bank over a fusion without heads or of a data set whose name cannot be part of a parameter's.
    Sources: LwF (Li and Hoiem, ECCV 2016), EWC (Kirkpatrick et al., PNAS 2017).
    """
    given = {
        "share": share,
        "distillation": distillation,
        "distilled": distilled,
        "temperature": temperature,
        "strength": strength,
        "fisher_rows": fisher_rows,
        "low_rank": low_rank,
        "adapter": adapter,
        "base": base,
        "training": training,
        "first_training": first_training,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    _check(context, policy, fusion, chosen)
    own = _Stages(
        context, policy, fusion, changed(context.joint_from_start, first_training), changed(context.joint, training)
    )
    return list(own.bank(chosen) if policy == "bank" else own.sequence(chosen))


class _Stages:
    """The stages of one policy."""

    def __init__(
        self, context: MethodContext, policy: str, fusion: str, first: TrainConfig, later: TrainConfig
    ) -> None:
        self.context, self.policy, self.fusion = context, policy, FusionConfig(name=fusion)
        self.first, self.later = first, later

    def sequence(self, chosen: dict[str, Any]) -> list[StageConfig]:
        """Stages of one model that goes from data set to data set, or that begins anew with each."""
        names, stages = self.context.data_sets, list[StageConfig]()
        for place, name in enumerate(names):
            begins = place == 0 or self.policy == "alone"
            heads = ("*.head",) if self.fusion.name in ON_HEADS else ("fusion",)
            frozen = self.policy == "freeze" and not begins
            stage = StageConfig(
                name=name,
                modalities=self.context.modalities,
                train=heads if frozen else trained_parts(self.fusion.name),
                start=() if begins else (names[place - 1],),
                fusion=self.fusion,
                training=self.first if begins else self.later,
                stream=StageStream(data_sets=(name,)),
            )
            stages.append(stage if begins else self.kept(stage, names[:place], chosen))
        return stages

    def kept(self, stage: StageConfig, earlier: tuple[str, ...], chosen: dict[str, Any]) -> StageConfig:
        """The stage with what its policy adds to it."""
        assert stage.stream is not None, "a stage of a stream"
        if self.policy == "replay":
            changes: dict[str, Any] = {"replay": chosen.get("share", 0.1), "earlier": earlier}
            return stage.model_copy(update={"stream": _checked(stage.stream, changes)})
        if self.policy == "ewc":
            changes = {"elastic": chosen.get("strength", 100.0), "fisher_rows": chosen.get("fisher_rows", 512)}
            return stage.model_copy(update={"stream": _checked(stage.stream, changes), "teachers": earlier})
        if self.policy == "lwf":
            return self.distilled(stage, earlier, chosen)
        if self.policy == "low_rank":
            low = chosen.get("low_rank", LowRankPolicy())
            train = (*(part for part in stage.train if not part.endswith(".encoder")), "*.adapter")
            changes = {
                "train": train,
                "adapters": dict.fromkeys(stage.modalities, low.adapter),
                "stream": _checked(stage.stream, {"low_rank": low, "earlier": earlier}),
            }
            return stage.model_copy(update=changes)
        return stage

    def distilled(self, stage: StageConfig, earlier: tuple[str, ...], chosen: dict[str, Any]) -> StageConfig:
        """The stage that is held to what the one before says about its rows."""
        assert stage.stream is not None, "a stage of a stream"
        weight, teachers = chosen.get("distillation", 1.0), (earlier[-1],)
        if chosen.get("distilled") == "features":
            objective = ObjectiveConfig(distillation=weight)
            return stage.model_copy(update={"objective": objective, "teachers": teachers})
        changes = {"distillation": weight, "temperature": chosen.get("temperature", 2.0), "earlier": earlier}
        return stage.model_copy(update={"stream": _checked(stage.stream, changes), "teachers": teachers})

    def bank(self, chosen: dict[str, Any]) -> list[StageConfig]:
        """A base, then adapters and heads of one data set after the other."""
        names, stages = self.context.data_sets, list[StageConfig]()
        if chosen.get("base", "first") == "first":
            stages, names = self.sequence({})[:1], names[1:]
        adapter = chosen.get("adapter", AdapterConfig(rank=8))
        for place, name in enumerate(names):
            stages.append(
                StageConfig(
                    name=name,
                    modalities=self.context.modalities,
                    train=(f"*.adapter.{escape(name)}", f"*.head.{escape(name)}"),
                    start=(stages[-1].name,) if stages else (),
                    fusion=self.fusion,
                    adapters=dict.fromkeys(self.context.modalities, adapter),
                    training=self.later,
                    stream=StageStream(data_sets=(name,), keys=names[: place + 1]),
                )
            )
        return stages


def _checked(stream: StageStream, changes: dict[str, Any]) -> StageStream:
    return StageStream.model_validate(stream.model_dump() | changes)


def _check(context: MethodContext, policy: str, fusion: str, chosen: dict[str, Any]) -> None:
    if len(context.data_sets) < 2:
        raise ValueError(
            "The method 'continual' goes from one data set of a stream to the next, and this data is "
            f"{'one data set' if context.data_sets else 'no stream'}; say which data set a row is of with "
            "--set data.stream.column=NAME, or divide the classes with data.stream.classes."
        )
    unread = sorted(set(chosen) - set(SETTINGS[policy]))
    if unread:
        readers = {name: [one for one, read in SETTINGS.items() if name in read] for name in unread}
        said = "; ".join(f"{name} is for {', '.join(found)}" for name, found in readers.items())
        raise ValueError(f"The policy {policy!r} does not read {', '.join(unread)}: {said}.")
    if chosen.get("distilled") == "features" and "temperature" in chosen:
        raise ValueError("Features are distilled without a temperature; it is for distilled=logits.")
    if chosen.get("base") == "initial" and "first_training" in chosen:
        raise ValueError("A bank over the initial weights has no stage of its own before it; change its `training`.")
    if policy == "bank":
        _check_bank(context, fusion)


def _check_bank(context: MethodContext, fusion: str) -> None:
    if fusion not in ON_HEADS:
        raise ValueError(f"A bank has heads per data set, and the fusion {fusion!r} has none; use late_mean or sum.")
    odd = [name for name in context.data_sets if "." in name or name == "default"]
    if odd:
        raise ValueError(
            f"The data set {odd[0]!r} cannot have adapters of its own: their key would be its name, which must have no "
            "dot and not be 'default'. Rename it in the table."
        )
