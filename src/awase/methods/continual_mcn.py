"""A joint space over a stream: one stage per data set, each seeing only its own rows."""

from glob import escape

from awase.adapters.bank import DEFAULT_KEY
from awase.config import AdapterConfig, BankPolicy, KeptConfig, Node, RetrievalConfig, StageConfig, StageStream
from awase.config.policies import FreezePolicy, LowRankPolicy, Policy, check_together
from awase.methods.context import Changes, MethodContext, changed
from awase.methods.mcn import Settings, all_pairs, mcn
from awase.vocabulary import SHARED_NAME


def continual_mcn(
    context: MethodContext,
    policy: tuple[Policy, ...] = (),
    alone: str | None = None,
    retrieval: Settings | None = None,
    training: Changes | None = None,
    first_training: Changes | None = None,
) -> list[Node]:
    """A stage of `mcn` per data set of the stream, in its order, on the rows of that data set; all pairs in each.

    `policy` says what a later stage does so that the earlier data sets are not forgotten; nothing: it trains everything
    on. The policies are those of a staged space (`config.Policy`), and are here about earlier data sets instead of
    earlier modalities: replayed rows, Fisher information, null spaces and the directions that adapters leave alone are
    of the earlier data sets' training rows, the teacher is the model as the stage began. `freeze`: the encoders stand
    still after the first stage, the heads learn. `bank`: the first stage's model stands still, and every later data set
    has adapters of its own in all encoders and heads (`combination={"adapter": ...}`, rank 8), under which its rows are
    embedded. With `alone`, the name of a data set, there is one stage on its rows: how well it can be learned.

    A stage from the initial weights trains as such stages do, with the changes `first_training`; the others as those
    that begin from earlier stages, with the changes `training`. Joint training on all rows is the method `mcn`.
    Raises `ValueError` for data that is no stream of two or more data sets, for policies that cannot be combined, and
    for a data set whose name cannot be that of a file, or of a bank's adapters.
    """
    _check(context, policy, alone)
    (plain,) = mcn(context, retrieval=retrieval, training=first_training)
    assert isinstance(plain, StageConfig), "a joint space is one stage"
    if alone is not None:
        return [plain.model_copy(update={"name": alone, "stream": StageStream(data_sets=(alone,))})]
    later, names = changed(context.joint, training), context.data_sets
    stages = [plain.model_copy(update={"name": names[0], "stream": StageStream(data_sets=names[:1])})]
    for place, name in enumerate(names[1:], start=1):
        changes = {"name": name, "stream": StageStream(data_sets=(name,)), "start": (names[place - 1],)}
        stage = plain.model_copy(update={**changes, "training": later})
        stages.append(_kept(stage, policy, names[: place + 1]))
    return list(stages)


def _kept(stage: StageConfig, policy: tuple[Policy, ...], names: tuple[str, ...]) -> StageConfig:
    """The stage of the last of the data sets `names` with what its policies make of it."""
    bank = next((one for one in policy if isinstance(one, BankPolicy)), None)
    if bank is not None:
        return _with_bank(stage, bank, names)
    steps = [one for one in policy if not isinstance(one, FreezePolicy)]
    train = stage.train
    if len(steps) < len(policy) or any(one.name == "dns" for one in steps):
        train = tuple(part for part in train if not part.endswith(".encoder"))
    if not steps:
        return stage.model_copy(update={"train": train})
    kept = KeptConfig.model_validate({"pairs": dict.fromkeys(all_pairs(stage.modalities), 1.0), "policies": steps})
    train = (*train, *(("objective",) if "ckc" in kept.names and "objective" not in train else ()))
    low = next((one for one in steps if isinstance(one, LowRankPolicy)), None)
    changes: dict[str, object] = {"stream": StageStream(data_sets=names[-1:], earlier=names[:-1])}
    if low is not None:
        train = tuple(part for part in train if not part.endswith((".encoder", ".head")))
        train = (*train, *(f"{name}.adapter" for name in stage.modalities))
        changes["adapters"] = dict.fromkeys(stage.modalities, low.adapter)
    assert stage.retrieval is not None, "the stage has a joint space"
    space = RetrievalConfig.model_validate({**stage.retrieval.model_dump(), "kept": kept})
    return stage.model_copy(update={**changes, "train": train, "retrieval": space})


def _with_bank(stage: StageConfig, bank: BankPolicy, names: tuple[str, ...]) -> StageConfig:
    adapter = AdapterConfig.model_validate(bank.combination.get("adapter", {"rank": 8, "targets": "*"}))
    assert stage.retrieval is not None, "the stage has a joint space"
    rebuilt = stage.retrieval.reconstruction.model_copy(update={"weight": 0.0})
    space = {**stage.retrieval.model_dump(), "clustering": None, "clustered": (), "reconstruction": rebuilt}
    return stage.model_copy(
        update={
            "train": (f"*.adapter.{escape(names[-1])}",),
            "adapters": dict.fromkeys(stage.modalities, adapter),
            "retrieval": RetrievalConfig.model_validate(space),
            "stream": StageStream(data_sets=names[-1:], keys=names[1:]),
        }
    )


def _check(context: MethodContext, policy: tuple[Policy, ...], alone: str | None) -> None:
    names = context.data_sets
    if len(names) < 2:
        raise ValueError(
            "The method 'continual_mcn' goes from one data set of a stream to the next, and this data is "
            f"{'one data set' if names else 'no stream'}; say which data set a row is of with "
            "--set data.stream.column=NAME."
        )
    if alone is not None and (policy or alone not in names):
        raise ValueError(
            f"`alone` is one of the data sets {', '.join(names)}, without a policy: no stage comes before it and there "
            f"is nothing to keep; given: {alone!r}."
        )
    check_together(tuple(one.name for one in policy))
    bank = next((one for one in policy if isinstance(one, BankPolicy)), None)
    if bank is not None and (bank.whole or bank.after or set(bank.combination) - {"adapter"}):
        raise ValueError(
            "Over a stream a bank has adapters of data sets, in all encoders and heads; of its settings only "
            "combination={'adapter': ...} is read."
        )
    reserved = (".", "..", DEFAULT_KEY, SHARED_NAME)
    odd = [name for name in names if name in reserved or set("/|") & set(name) or (bank and set(".+") & set(name))]
    if odd:
        raise ValueError(
            f"The data set {odd[0]!r} cannot be a stage: its files and adapters would have that name, which must not "
            f"be {', '.join(map(repr, reserved))}, and have no '/' and no '|', for a bank no '.' and no '+' either. "
            "Rename it in the table."
        )
