"""Creating a timm model for a shape of input, with random, local or Hub weights."""

import difflib
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from awase.encoders.hub import advice, cache_only_when_offline, is_local, weights_file
from awase.encoders.request import Request


def create_model(
    name: str, shape: tuple[int, int, int], options: dict[str, Any], request: Request
) -> tuple[nn.Module, tuple[int, int]]:
    """The model without classifier for inputs of `shape` (channels, height, width), and its patch size.

    A model of fixed input size gets the sides of `shape`, filled up to a multiple of its patch (timm resamples the
    position embeddings of its weights). The first convolution of pretrained weights is adapted to the channels.
    """
    import timm

    config = _config(name)
    patch = _patch(name, options) if config.fixed_input_size else (1, 1)
    if config.fixed_input_size:
        sides = tuple(side + -side % step for side, step in zip(shape[1:], patch, strict=True))
        options = {"img_size": sides, **options}
    options = {"num_classes": 0, "in_chans": shape[0], **options}
    if request.pretrained is False:
        return timm.create_model(name, pretrained=False, **options), patch
    return _pretrained(name, options, request), patch


def _config(name: str) -> Any:
    import timm

    found = timm.get_pretrained_cfg(name, allow_unregistered=False) if timm.is_model(name) else None
    if found is None:
        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise ValueError(
            f"timm has no model {name!r}; near it: {', '.join(near) or 'nothing'}. See timm.list_models()."
        )
    return found


def _patch(name: str, options: dict[str, Any]) -> tuple[int, int]:
    import timm

    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0, **options)
    embed = getattr(model, "patch_embed", None)
    size = getattr(embed, "patch_size", (1, 1))
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _pretrained(name: str, options: dict[str, Any], request: Request) -> nn.Module:
    import timm

    source = request.pretrained
    if isinstance(source, str) and is_local(source):
        file = weights_file(source, request.allow_pickle)
    else:
        file = _from_hub(name, source if isinstance(source, str) else None)
    model: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(file)}, **options)
    return model


def _from_hub(name: str, repository: str | None) -> Path:
    """The safetensors file of `repository`, by default timm's own weights of the model, in the Hub's cache."""
    from huggingface_hub import hf_hub_download

    config = _config(name)
    wanted = repository or config.hf_hub_id
    if wanted is None:
        raise ValueError(f"timm has no weights for {name!r} on the Hub: pass a local folder, or pretrained=False.")
    wanted = wanted if "/" in wanted else f"timm/{name}"
    own_file = Path((None if repository else config.hf_hub_filename) or "model.safetensors")
    with cache_only_when_offline():
        try:
            return Path(hf_hub_download(wanted, str(own_file.with_suffix(".safetensors"))))
        except (OSError, ValueError) as error:
            raise FileNotFoundError(f"{advice(name, wanted)} ({type(error).__name__})") from error


def rescaling(model: Any, channels: int, request: Request) -> Float[Tensor, "2 channels"]:
    """Factor and summand per channel that bring [-1, 1] to the normalisation of the pretraining.

    (x / 2 + 1/2 - mean) / std; one and zero for random weights, for audio and for flow. A single channel is given the
    means over the three.
    """
    if request.pretrained is False or request.kind in ("audio", "flow"):
        return torch.stack((torch.ones(channels), torch.zeros(channels)))
    mean, std = (torch.tensor(model.pretrained_cfg[key]) for key in ("mean", "std"))
    if channels != len(mean):
        mean, std = mean.mean().expand(channels), std.mean().expand(channels)
    return torch.stack((0.5 / std, (0.5 - mean) / std))
