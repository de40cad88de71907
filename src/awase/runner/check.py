"""Whether an experiment can run at all, found out before anything is trained or written."""

from collections.abc import Iterator
from pickle import UnpicklingError

import numpy as np

from awase.balancing import build_rule
from awase.config import Experiment, SelectionConfig, StageConfig
from awase.data import Dataset
from awase.data.features import ClipDataset
from awase.evaluation import score
from awase.methods import build_method
from awase.models import Classifier
from awase.runner.build import build_model
from awase.runner.low_rank import check_low_rank
from awase.runner.overrides import changed_settings
from awase.runner.setting import Setting
from awase.runner.space_scores import space_metric_names
from awase.runner.space_work import clips_of_a_video
from awase.runner.work import rule_context, sample_loss_of
from awase.training.parts import match_parts

SMALLER_IS_BETTER = ("loss", "MedR", "MeanR", "log_rank")


def check_request(setting: Setting) -> None:
    """Builds every method's stages and every distinct model once.

    Raises `ValueError` for an unknown metric, direction, method, setting, encoder, option, fusion or adapter target,
    for a balancing rule that the model does not suit, and what building an encoder raises.
    """
    check_selection(setting.experiment.selection, setting.dataset)
    seen = set()
    for stage in _stages(setting.experiment, setting):
        _check_control(stage, setting)
        fields = {"modalities", "fusion", "adapters", "train", "own_heads", "balancing", "retrieval", "stream"}
        shape = stage.model_dump_json(include=fields)
        if shape not in seen:
            _check_stage(stage, setting)
            _check_space_metric(stage, setting.experiment.selection)
        seen.add(shape)


def _check_stage(stage: StageConfig, setting: Setting) -> None:
    _check_task(stage, setting.dataset.task)
    _check_candidates(stage, setting.dataset)
    _check_stream(stage, setting)
    try:
        model = build_model(stage, setting.spec, {})
    except (RuntimeError, UnpicklingError) as error:
        # Weights that do not fit, or a pickle of more than tensors: torch's own errors.
        raise ValueError(f"The model of stage {stage.name!r} cannot be built: {error}") from error
    trained = match_parts(stage.train, model.parts()) if stage.train else ()
    check_low_rank(model, stage)
    if stage.balancing is not None and isinstance(model, Classifier):
        loss = sample_loss_of(stage.training, setting)
        build_rule(stage.balancing, rule_context(model, stage, trained, setting, loss))


def _check_task(stage: StageConfig, task: str) -> None:
    if stage.retrieval is None and task == "retrieval":
        raise ValueError(
            f"Stage {stage.name!r} learns classes, and the data's task is retrieval, which has none; use a method with "
            "a joint space (mcn), or say --set data.task=single_label."
        )
    if stage.retrieval is not None and task != "retrieval":
        raise ValueError(
            f"Stage {stage.name!r} learns a joint space, and the data's task is {task}; say --set data.task=retrieval."
        )


def _check_stream(stage: StageConfig, setting: Setting) -> None:
    setting.of_stage(stage)
    if stage.stream is not None and setting.dataset.task == "multi_label":
        raise ValueError(
            f"Stage {stage.name!r} is of a stream, whose measures are of the accuracy of one label per row; the data's "
            "task is multi_label."
        )


def _check_candidates(stage: StageConfig, dataset: Dataset | ClipDataset) -> None:
    if stage.retrieval is not None and stage.retrieval.loss == "mil_nce" and not dataset.candidate_modalities:
        raise ValueError(
            f"Stage {stage.name!r} has the loss 'mil_nce', which compares a clip with several captions; the data has "
            "no modality with candidates; say --set data.howto100m.candidates=4 (with data.dataset=howto100m) or "
            "data.scenes.candidates=2 (scenes), or take another loss, for example mms."
        )


def _check_control(stage: StageConfig, setting: Setting) -> None:
    """Where pairs are drawn across videos, every process needs two in its share of a batch."""
    clips, least = clips_of_a_video(setting.dataset), 2 * setting.world.size
    control = stage.retrieval is not None and stage.retrieval.shuffle_pairs
    if control and stage.training.batch_size < least * clips:
        raise ValueError(
            f"Stage {stage.name!r} is a control that draws every sample to one of another video, and its batches of "
            f"{stage.training.batch_size} have {clips} clips of each video on {setting.world.size} processes; say "
            f"--set joint.batch_size={least * clips} or more."
        )


def _check_space_metric(stage: StageConfig, selection: SelectionConfig) -> None:
    """Every stage chooses its epoch by the same metric, so a stage on fewer modalities must have it too."""
    known = space_metric_names(stage.modalities)
    if stage.retrieval is not None and selection.metric not in known:
        raise ValueError(
            f"Selection asks for the metric {selection.metric!r}, which stage {stage.name!r} on "
            f"{', '.join(stage.modalities)} does not have; valid names: {', '.join(known)}."
        )


def check_selection(selection: SelectionConfig, dataset: Dataset | ClipDataset) -> None:
    """Raises `ValueError` for a metric that validation does not have, and for the wrong direction of one it has."""
    if dataset.task == "retrieval":
        known = space_metric_names(dataset.modalities)
    else:
        known = tuple(score(np.eye(2), np.eye(2) if dataset.task == "multi_label" else np.arange(2), dataset.task))
    if selection.metric not in known:
        raise ValueError(f"Selection asks for the metric {selection.metric!r}; valid names: {', '.join(known)}.")
    better = "min" if selection.metric.partition(" ")[0] in SMALLER_IS_BETTER else "max"
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
