"""A whole model under one key as a model without adapters, described so that it can be saved and loaded."""

import copy
from collections.abc import Mapping

from torch import nn

from awase.config import RetrievalConfig, StageConfig
from awase.models import Classifier, Retrieval
from awase.models.plain import checked_key, fold_key
from awase.runner.build import Model
from awase.runner.space_state import SpaceState
from awase.runner.spec import SavedModel


def folded(
    saved: SavedModel, model: Model, key: str | None = None, modalities: tuple[str, ...] = ()
) -> tuple[SavedModel, Model]:
    """A copy of the model with the adapters of `key` folded in, and its description.

    A joint space keeps the modalities of the key, or those given, and of its objective the temperature: it embeds, but
    was made to train no further. A classifier keeps all its modalities. Raises `ValueError` for an unknown key, and
    for some modalities of a classifier, whose fusion is of all.
    """
    if isinstance(model, Classifier):
        if modalities and set(modalities) != set(model.modalities):
            raise ValueError(
                "A classifier's decision is of all its modalities, so --format plain writes it whole; leave --modality "
                "out, or use --format onnx or torch for one modality."
            )
        return described(saved, saved.stage.model_copy(update={"adapters": {}})), _folded_classifier(model, key)
    chosen = modalities or tuple(name for name in model.modalities if _has(model, name, key))
    if not chosen:
        checked_key(model, model.modalities[0], key)  # says which keys there are
    retrieval = saved.stage.retrieval
    assert retrieval is not None, "the stage has a joint space"
    config = _space_alone(retrieval, chosen)
    stage = StageConfig(name=saved.stage.name, modalities=chosen, retrieval=config, training=saved.stage.training)
    objective = SpaceState(config, 0)
    temperature = {k: v for k, v in model.objective.state_dict().items() if k in objective.state_dict()}
    objective.load_state_dict(temperature)
    encoders = {name: _copied(model.encoders[name], model, name, key) for name in chosen}
    projections = {name: _copied(model.projections[name], model, name, key) for name in chosen}
    return described(saved, stage), Retrieval(encoders, projections, {}, objective)


def _has(model: Retrieval, modality: str, key: str | None) -> bool:
    try:
        checked_key(model, modality, key)
    except ValueError:
        return False
    return True


def _copied(module: nn.Module, model: Model, modality: str, key: str | None) -> nn.Module:
    copied = copy.deepcopy(module)
    fold_key(copied, checked_key(model, modality, key))
    return copied


def _folded_classifier(model: Classifier, key: str | None) -> Classifier:
    copied = copy.deepcopy(model)
    for name in model.modalities:
        fold_key(copied.encoders[name], checked_key(model, name, key))
    return copied


def _space_alone(config: RetrievalConfig, modalities: tuple[str, ...]) -> RetrievalConfig:
    """The space without what trains it: no clustering, no heads that rebuild features, no keys."""
    fields: Mapping[str, object] = {
        **config.model_dump(),
        "space": {**config.space.model_dump(), "reconstruction": None},
        "pairs": {pair: weight for pair, weight in config.pairs.items() if set(pair.split("+")) <= set(modalities)},
        "combinations": None,
        "clustering": None,
        "clustered": (),
        "reconstructed": (),
    }
    return RetrievalConfig.model_validate(fields)


def described(saved: SavedModel, stage: StageConfig) -> SavedModel:
    """The description of a model that was made of another; what that one measured does not hold for it."""
    card = {name: value for name, value in saved.card.items() if name != "test"}
    return saved.model_copy(update={"stage": stage, "hashes": (), "card": card})
