"""A joint space over a stream: which data set a split is of, who has learned from it, and whose adapters answer."""

from awase.models import Retrieval
from awase.runner.nodes import NodeRunner, StageResult
from awase.runner.setting import Setting
from awase.runner.space_scores import space_metrics


def data_set_of(split: str, setting: Setting) -> str | None:
    """The data set of a split of `Setting.apart`, `street` of `test street`; None where the data is no stream."""
    stream = getattr(setting.dataset, "stream", None)
    return None if stream is None else split.partition(" ")[2]


def has_seen(runner: NodeRunner, result: StageResult, data_set: str | None) -> bool:
    """Whether a stage, or one that it begins from, has learned from the rows of a data set."""
    stream = result.stage.stream
    if stream is None or data_set is None or data_set in stream.data_sets:
        return True
    return any(has_seen(runner, runner.stages[name], data_set) for name in result.stage.start)


def answer_for(model: Retrieval, data_set: str | None) -> None:
    """Makes the adapters of a data set act, where the model has such; else what it was before there were any."""
    model.route(data_set if data_set in model.routes else None)


def validation_mean_of_spaces(runner: NodeRunner, last: StageResult, metric: str) -> float | None:
    """The mean over the data sets of the metric on validation after the last stage; None where that is of no stream."""
    if last.stage.stream is None:
        return None
    setting, model = runner.setting.apart(), runner.space(last)
    values = []
    for split in (split for split in setting.dataset.splits if split.startswith("val ")):
        answer_for(model, data_set_of(split, setting))
        values.append(space_metrics(model, last.stage, split, setting)[metric])
    return sum(values) / len(values)
