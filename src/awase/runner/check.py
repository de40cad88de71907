"""Whether an experiment can run at all, found out before anything is trained or written."""

from collections.abc import Iterator
from pickle import UnpicklingError

import numpy as np

from awase.balancing import build_rule
from awase.config import Experiment, SelectionConfig, StageConfig
from awase.data import Dataset
from awase.evaluation import score
from awase.methods import build_method
from awase.runner.build import build_classifier
from awase.runner.overrides import changed_settings
from awase.runner.setting import Setting
from awase.runner.work import rule_context, sample_loss_of
from awase.training.parts import match_parts


def check_request(setting: Setting) -> None:
    """Builds every method's stages and every distinct model once.

    Raises `ValueError` for an unknown metric, direction, method, setting, encoder, option, fusion or adapter target,
    for a balancing rule that the model does not suit, and what building an encoder raises.
    """
    check_selection(setting.experiment.selection, setting.dataset)
    seen = set()
    for stage in _stages(setting.experiment, setting):
        fields = {"modalities", "fusion", "adapters", "train", "own_heads", "balancing"}
        shape = stage.model_dump_json(include=fields)
        if shape not in seen:
            _check_stage(stage, setting)
        seen.add(shape)


def _check_stage(stage: StageConfig, setting: Setting) -> None:
    try:
        model = build_classifier(stage, setting.spec, {})
    except (RuntimeError, UnpicklingError) as error:
        # Weights that do not fit, or a pickle of more than tensors: torch's own errors.
        raise ValueError(f"The model of stage {stage.name!r} cannot be built: {error}") from error
    trained = match_parts(stage.train, model.parts()) if stage.train else ()
    if stage.balancing is not None:
        loss = sample_loss_of(stage.training, setting)
        build_rule(stage.balancing, rule_context(model, stage, trained, setting, loss))


def check_selection(selection: SelectionConfig, dataset: Dataset) -> None:
    """Raises `ValueError` for a metric that validation does not have, and for the wrong direction of one it has."""
    known = score(np.eye(2), np.eye(2) if dataset.task == "multi_label" else np.arange(2), dataset.task)
    if selection.metric not in known:
        raise ValueError(f"Selection asks for the metric {selection.metric!r}; valid names: {', '.join(known)}.")
    better = "min" if selection.metric == "loss" else "max"
    if selection.direction != better:
        raise ValueError(
            f"Selection by {selection.metric!r} with direction {selection.direction!r} would keep the worst epoch; "
            f"say --set selection.direction={better}."
        )


def _stages(experiment: Experiment, setting: Setting) -> Iterator[StageConfig]:
    for method in experiment.methods:
        for changes in method.candidates or ({},):
            settings = changed_settings(method.settings, changes)
            for node in build_method(method.method, setting.method_context(), settings):
                if isinstance(node, StageConfig):
                    yield node
