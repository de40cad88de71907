"""The stages of a finished run by name, and the models that were trained on one modality alone."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from awase.config import MethodConfig, StageConfig
from awase.digest import tensors_digest
from awase.evaluation.balance import still_rising
from awase.methods import build_method
from awase.methods.context import unimodal_stage
from awase.models import Classifier
from awase.records import Epoch
from awase.runner.again import Reopened
from awase.runner.build import build_classifier
from awase.runner.nodes import load_tensors
from awase.runner.overrides import changed_settings
from awase.training.identity import stage_document, stage_hash
from awase.training.parts import freeze_except
from awase.training.store import StoredStage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnStage:
    """A model of one modality alone, from a stage of the run or from the store."""

    model: Classifier
    source: Literal["stage", "store"]
    still_improving: bool


def stages_of(run: Reopened) -> dict[str, StageConfig]:
    """Name -> configuration of every stage that the run went through, in order."""
    method = MethodConfig.model_validate(run.record.config["method"])
    settings = changed_settings(method.settings, run.record.chosen.get("changes") or {})
    nodes = build_method(method.method, run.setting.method_context(), settings)
    ran = {stage.name for stage in run.record.stages}
    return {node.name: node for node in nodes if isinstance(node, StageConfig) and node.name in ran}


def own_stage(run: Reopened, stages: Mapping[str, StageConfig], modality: str) -> OwnStage | None:
    """The model that was trained on `modality` alone: the run's last such stage, else the one in the store that another
    method of the same experiment and seed has trained; None where there is neither."""
    alone = [name for name, stage in stages.items() if stage.modalities == (modality,) and stage.train]
    if alone:
        record = next(stage for stage in run.record.stages if stage.name == alone[-1])
        model = _model(run, stages[alone[-1]], _tensors(run, stages, alone[-1]))
        rising = still_rising(record.curve, record.still_improving, run.record.selection_metric)
        return OwnStage(model, "stage", rising)
    stored = _in_store(run, modality)
    if stored is None:
        return None
    stage = unimodal_stage(run.setting.method_context(), modality)
    curve = [Epoch(**entry) for entry in stored.facts["curve"]]
    rising = still_rising(curve, stored.facts["still_improving"], run.record.selection_metric)
    return OwnStage(_model(run, stage, stored.tensors), "store", rising)


def _tensors(run: Reopened, stages: Mapping[str, StageConfig], name: str) -> dict[str, Tensor]:
    """What a stage trained, over what it began from."""
    record = next(stage for stage in run.record.stages if stage.name == name)
    stored = run.setting.store.find(record.hash)
    if stored is None:
        raise FileNotFoundError(
            f"The stage {record.hash} of {run.folder} is not in {run.setting.store.root}; name the cache the run used "
            "with --cache, or run the experiment again."
        )
    found: dict[str, Tensor] = {}
    for earlier in stages[name].start:
        found |= _tensors(run, stages, earlier)
    return found | stored.tensors


def _model(run: Reopened, stage: StageConfig, tensors: Mapping[str, Tensor]) -> Classifier:
    derived: dict[str, Any] = {option: run.record.derived[name] for option, name in stage.derived.items()}
    model = build_classifier(stage, run.setting.spec, derived)
    places = model.state_dict()
    load_tensors(model, {name: value for name, value in tensors.items() if name in places})
    freeze_except(model, ())
    return model.to(run.setting.device).eval()


def _in_store(run: Reopened, modality: str) -> StoredStage | None:
    """The stage that trains this modality alone, by the address it has for the run's seed, device and threads."""
    setting, runtime = run.setting, run.record.config["runtime"]
    stage = unimodal_stage(setting.method_context(), modality)
    try:
        initial = tensors_digest(dict(build_classifier(stage, setting.spec, {}).state_dict()))
    except OSError as error:  # pretrained weights that this machine does not have
        log.info("the weights that %s began from cannot be read here: %s", modality, error)
        return None
    around = replace(
        setting.surroundings(),
        threads=run.record.hardware.get("threads", 1),
        device=runtime["device"],
        dtype=runtime["dtype"],
    )
    return setting.store.find(stage_hash(stage_document(stage, (), initial, around, {})))
