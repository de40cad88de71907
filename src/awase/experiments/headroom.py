"""Are adapters of pairs worth it on some data? The experiment that answers, from any experiment of joint spaces."""

from awase.config import Experiment, MethodConfig, TrainConfig
from awase.data import inferred
from awase.methods.headroom import headroom_methods


def headroom(experiment: Experiment) -> Experiment:
    """Every pair in a space of its own beside the joint one, with adapters and the controls (`headroom_methods`).

    The space is that of the first `mcn` in one stage (else of the first `mcn`, else of the first `pair_adapters`), the
    adapters are those of the first `pair_adapters`. Epochs are chosen by the same metric, over all directions that a
    space has. Raises `ValueError` where the task is not retrieval, for fewer than three modalities, whose one pair
    is the joint space, and without one of these methods.
    """
    modalities = tuple(inferred(experiment.data).inputs)
    _check(experiment, modalities)
    adapters = next((one for one in experiment.methods if one.method == "pair_adapters"), None)
    spaces = [one for one in experiment.methods if one.method == "mcn"]
    joint = min(spaces, key=lambda one: bool(one.settings.get("staged")), default=None)
    if joint is None:
        assert adapters is not None, "one of them is there"
        joint = _space_of(adapters)
    first = experiment.joint if experiment.from_start is None else experiment.from_start
    own = None if adapters is None or adapters.settings.get("together") else adapters
    epochs = _epochs(first, joint) + _epochs(experiment.joint, own)
    metric = experiment.selection.metric.partition(" ")[0]
    return experiment.model_copy(
        update={
            "name": f"{experiment.name}-headroom",
            "methods": headroom_methods(modalities, joint, adapters, epochs),
            "selection": experiment.selection.model_copy(update={"metric": metric}),
        }
    )


def _check(experiment: Experiment, modalities: tuple[str, ...]) -> None:
    if experiment.data.task != "retrieval":
        raise ValueError(
            f"Headroom is asked of joint spaces, and the task of {experiment.name} is {experiment.data.task}; say "
            "--set data.task=retrieval, or name an experiment of mcn."
        )
    if len(modalities) < 3:
        raise ValueError(
            f"Headroom compares pairs of modalities with one space of all; {experiment.name} has "
            f"{', '.join(modalities) or 'none'}, and it takes three or more."
        )
    if not any(one.method in ("mcn", "pair_adapters") for one in experiment.methods):
        raise ValueError(f"{experiment.name} has neither mcn nor pair_adapters, so there is no space to ask about.")


def _space_of(adapters: MethodConfig) -> MethodConfig:
    """The `mcn` that a `pair_adapters` begins with."""
    training = adapters.settings.get("training" if adapters.settings.get("together") else "shared_training") or {}
    settings = {"retrieval": adapters.settings.get("retrieval") or {}, "training": training}
    return MethodConfig(method="mcn", settings=settings)


def _epochs(training: TrainConfig, method: MethodConfig | None) -> int:
    changes = {} if method is None else method.settings.get("training") or {}
    assert isinstance(changes, dict), "changes are fields by name"
    return TrainConfig.model_validate(training.model_dump() | changes).epochs
