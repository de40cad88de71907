"""A model with its trained weights, from the files of a finished run or of a saved model."""

from pathlib import Path

from torch import Tensor

from awase.config import Runtime
from awase.files import write_text
from awase.models.parts import part_of
from awase.runner.build import Model, build_model
from awase.runner.card import model_card
from awase.runner.nodes import check_fit, load_tensors
from awase.runner.saved import (
    MODEL_NAME,
    WEIGHTS_NAME,
    OwnEncoders,
    find_folder,
    model_file,
    read_saved,
    read_weights,
    without_weights,
)
from awase.runner.spec import SavedModel
from awase.training.checkpoint import write_tensors


def save_model(folder: Path, saved: SavedModel, model: Model) -> None:
    """Writes the weights (safetensors), the configuration and a model card, from which the model can be had again."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_tensors(folder / WEIGHTS_NAME, state, {"format": "pt"})
    whole = saved.model_copy(update={"hashes": ()})
    write_text(folder / MODEL_NAME, whole.model_dump_json(indent=1) + "\n")
    write_text(folder / "README.md", model_card(saved))


def open_model(
    source: str | Path, *, cache: Path | None = None, encoders: OwnEncoders | None = None
) -> tuple[SavedModel, Model, Path]:
    """The model in a run's folder, in a folder that was saved or on the Hub; what describes it; and the cache used.

    `encoders` are encoders of somebody's own, by modality. Raises as `read_saved` and `restored_model` do.
    """
    folder = find_folder(source)
    saved = read_saved(model_file(folder), encoders or {}, trusted=Path(source).is_dir())
    place = Runtime().cache if cache is None else Path(cache)
    return saved, restored_model(folder, saved, place), place


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
