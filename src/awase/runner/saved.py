"""The files of a saved model: where they are, what they describe, and whether they belong together."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from awase.config import EncoderConfig
from awase.runner.resolve import own_encoder
from awase.runner.spec import SavedModel
from awase.training.store import StageStore

MODEL_NAME = "model.json"
WEIGHTS_NAME = "model.safetensors"
ROUTING_NAME = "routing.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")

OwnEncoders = Mapping[str, Callable[..., Any]]


def find_folder(source: str | Path) -> Path:
    """The local folder of a model: itself, or the Hub repository downloaded. Raises `FileNotFoundError`."""
    folder = Path(source)
    if folder.is_dir():
        return folder
    text = str(source)
    if text.count("/") != 1 or text.startswith((".", "/")):
        raise FileNotFoundError(f"There is no folder {text}.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        patterns = [MODEL_NAME, WEIGHTS_NAME, ROUTING_NAME, "README.md"]
        return Path(snapshot_download(text, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise FileNotFoundError(
            f"There is no folder {text}, and the Hub has no such model or cannot be reached ({type(error).__name__})."
        ) from error


def model_file(folder: Path) -> Path:
    """The description of the model in `folder`; raises `FileNotFoundError`, naming a pickle that lies there instead."""
    file = folder / MODEL_NAME
    if file.is_file():
        return file
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    hint = f" It holds {pickles[0]}, a pickle, which could run code and is not read." if pickles else ""
    raise FileNotFoundError(
        f"{folder} holds no {MODEL_NAME}: give the folder of a finished run or of a saved model.{hint}"
    )


def read_saved(file: Path, own: OwnEncoders, *, trusted: bool) -> SavedModel:
    """The description in `file`, its encoders without pretrained weights, those of the user's own as callables.

    They are those in `own`, else, where the file is `trusted` (it lies on this machine), loaded from the Python file
    it names. Raises `ValueError` for another format version, for a modality in `own` that the model does not have, and
    for an encoder of somebody's own that is not given.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        version = document.get("format_version")
    except (json.JSONDecodeError, AttributeError) as error:
        raise ValueError(f"{file} is damaged or describes no model of awase ({error}).") from error
    if version != 1:
        raise ValueError(f"{file} has format version {version}; this awase reads 1.")
    saved = SavedModel.model_validate(document)
    unknown = sorted(set(own) - set(saved.spec.encoders))
    if unknown:
        valid = ", ".join(saved.spec.encoders)
        raise ValueError(
            f"There is an encoder for {', '.join(unknown)}, which the model does not have; it has {valid}."
        )
    encoders = {
        name: config.model_copy(update={"name": own[name]}) if name in own else _encoder(name, config, trusted)
        for name, config in saved.spec.encoders.items()
    }
    return saved.model_copy(update={"spec": saved.spec.model_copy(update={"encoders": encoders})})


def _encoder(name: str, config: EncoderConfig, trusted: bool) -> EncoderConfig:
    if isinstance(config.name, str) and "::" in config.name:
        if not trusted:
            raise ValueError(
                f"The encoder of {name!r} is its author's own ({config.name}), and code is not fetched with a model: "
                f"pass encoders={{{name!r}: ...}} with the function or class that makes it."
            )
        return own_encoder(config)
    if config.name == "transformers" and isinstance(config.pretrained, str):
        # Sizes and tokenizer come from there; the weights are the model's own.
        options = {key: value for key, value in config.options.items() if key != "architecture"}
        return config.model_copy(update={"options": {**options, "model": config.pretrained}})
    return config


def without_weights(saved: SavedModel, keep: Collection[str] = ()) -> SavedModel:
    """The description with encoders that begin from random weights, to be overwritten, but for those of `keep`."""
    encoders = {
        name: config if name in keep else config.model_copy(update={"pretrained": False})
        for name, config in saved.spec.encoders.items()
    }
    return saved.model_copy(update={"spec": saved.spec.model_copy(update={"encoders": encoders})})


def read_weights(folder: Path, saved: SavedModel, cache: Path) -> Iterator[dict[str, Tensor]]:
    """The tensors of the model in the order in which they are loaded: beside its description, or stage by stage."""
    if not saved.hashes:
        yield _beside(folder / WEIGHTS_NAME)
    store = StageStore(cache)
    for address in saved.hashes:
        stored = store.find(address)
        if stored is None:
            raise FileNotFoundError(
                f"The stage {address} of {folder} is not in {store.root}; name the cache the run used with --cache, "
                "or run the experiment again."
            )
        yield stored.tensors


def _beside(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise FileNotFoundError(f"{file.parent} holds no {file.name}.")
    try:
        tensors: dict[str, Tensor] = load_file(file)
        return tensors
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged or no safetensors file ({error}).") from error
