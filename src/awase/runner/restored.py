"""A model with its trained weights, from the files of a finished run or of a saved model."""

from pathlib import Path

from torch import Tensor

from awase.models.parts import part_of
from awase.runner.build import Model, build_model
from awase.runner.nodes import check_fit, load_tensors
from awase.runner.saved import read_weights, without_weights
from awase.runner.spec import SavedModel


def restored_model(folder: Path, saved: SavedModel, cache: Path) -> Model:
    """The model that `saved`, read from `folder`, describes. Raises `ValueError` for weights that do not fit."""
    parts = list(read_weights(folder, saved, cache))
    frozen = _never_trained(saved, parts) if saved.hashes else set()
    bare = without_weights(saved, keep=frozen)
    model = build_model(bare.stage, bare.spec, bare.derived)
    own = model.state_dict()
    # A run's stages may hold parts that its last model has no place for; what lies beside a model belongs to it.
    used = [{k: v for k, v in part.items() if k in own} if saved.hashes else part for part in parts]
    whole = {name: value for part in used for name, value in part.items()}
    random = saved.hashes and not any(config.pretrained for config in saved.spec.encoders.values())
    needed = [name for name in own if part_of(name) not in {f"{modality}.encoder" for modality in frozen}]
    check_fit(whole, own, f"The weights of {folder} are", needed=() if random else needed)
    load_tensors(model, whole)
    return model


def _never_trained(saved: SavedModel, parts: list[dict[str, Tensor]]) -> set[str]:
    """The modalities whose encoders no stage trained: their weights are what the pretrained files, or the seed, say."""
    trained = {part_of(name) for part in parts for name in part}
    return {name for name in saved.stage.modalities if f"{name}.encoder" not in trained}
