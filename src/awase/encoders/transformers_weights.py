"""Creating a transformers model with random, local or Hub weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch import nn

from awase.encoders.hub import advice, cache_only_when_offline, is_local, weights_file
from awase.encoders.request import Request

# Present in a file or not, they are never used: pooled vectors are made from the last hidden state.
_UNUSED = ("pooler", "masked_spec_embed")


def create_model(
    source: str | None, architecture: str | None, changes: Mapping[str, JsonValue], request: Request
) -> Any:
    """The encoder part of a transformers model, in float32, without pooler and without training-time masking.

    With pretrained weights they come from `request.pretrained` or `source`. Without, the configuration comes from
    `source` (a folder with config.json, or the Hub), or is that of `architecture`, and the weights are random.
    """
    name = request.pretrained if isinstance(request.pretrained, str) else source
    if request.pretrained is not False:
        if name is None:
            raise ValueError("Pretrained weights need a name: pretrained='folder or Hub name', or the option model.")
        return _trimmed(_pretrained(name, changes, request))
    config = _config(source, architecture, changes, request)
    from transformers import AutoModel

    return _trimmed(AutoModel.from_config(config))


def _config(source: str | None, architecture: str | None, changes: Mapping[str, JsonValue], request: Request) -> Any:
    from transformers import CONFIG_MAPPING, AutoConfig

    if (source is None) == (architecture is None):
        raise ValueError("Give the encoder 'transformers' either model (folder or Hub name) or architecture ('bert').")
    if architecture is None:
        assert source is not None
        return _read_config(source, changes)
    if architecture not in CONFIG_MAPPING:
        raise ValueError(
            f"transformers has no architecture {architecture!r}; it has {', '.join(sorted(CONFIG_MAPPING))}."
        )
    return AutoConfig.for_model(architecture, **{**_shape_of(architecture, request), **changes})


def _shape_of(architecture: str, request: Request) -> dict[str, int]:
    """Sizes that follow from the input, for architectures whose positions are fixed."""
    if architecture == "audio-spectrogram-transformer" and len(request.input_shape) == 3:
        return {"num_mel_bins": request.input_shape[1], "max_length": request.input_shape[2]}
    return {}


def _read_config(source: str, changes: Mapping[str, JsonValue]) -> Any:
    from transformers import AutoConfig

    if is_local(source):
        folder = Path(source).expanduser()
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{folder} holds no config.json: a saved transformers model is a folder with one.")
        return AutoConfig.from_pretrained(str(folder), local_files_only=True, **changes)
    with cache_only_when_offline() as online:
        try:
            return AutoConfig.from_pretrained(source, local_files_only=not online, **changes)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"The configuration of {source!r} is neither on this machine nor could it be fetched. Pass a folder "
                "with config.json as the option model, or an architecture with its sizes, for example "
                "architecture='bert' and config={'num_hidden_layers': 2}."
            ) from error


def _pretrained(name: str, changes: Mapping[str, JsonValue], request: Request) -> Any:
    options: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True, **changes}
    if not request.allow_pickle:
        options["use_safetensors"] = True
    if is_local(name):
        weights_file(name, request.allow_pickle)
        return _loaded(str(Path(name).expanduser()), {"local_files_only": True, **options})
    with cache_only_when_offline() as online:
        try:
            return _loaded(name, {"local_files_only": not online, **options})
        except OSError as error:
            raise FileNotFoundError(f"{advice('transformers', name)} ({type(error).__name__})") from error


def _loaded(name: str, options: dict[str, Any]) -> Any:
    from transformers import AutoModel

    model, info = AutoModel.from_pretrained(name, **options)
    missing = sorted(key for key in info["missing_keys"] if key.split(".")[0] not in _UNUSED)
    if missing:
        raise ValueError(f"The weights {name!r} lack {len(missing)} tensors of the model: {', '.join(missing[:5])} ...")
    return model


def _trimmed(model: Any) -> Any:
    """The encoder alone, in training mode, without parts that would never get a gradient."""
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    for name in _UNUSED:
        if name in model._modules or name in model._parameters:
            setattr(model, name, None)
    model.config.apply_spec_augment = False  # augmentation belongs to the data, and must be reproducible
    model.config.layerdrop = 0.0
    trained: nn.Module = model.train()
    return trained
