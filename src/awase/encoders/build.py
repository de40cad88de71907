"""From a name, or a callable of the user's own, to an encoder with weights that follow from a seed."""

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from awase.config import EncoderConfig
from awase.encoders.davenet import davenet
from awase.encoders.features import features
from awase.encoders.hub import is_local, weights_file
from awase.encoders.info import Provenance
from awase.encoders.mlp import mlp
from awase.encoders.request import KINDS, Request
from awase.encoders.small_cnn import small_cnn
from awase.encoders.small_transformer import small_transformer
from awase.encoders.small_vit import small_vit
from awase.encoders.transformers_encoder import transformers_encoder
from awase.encoders.vision import resnet18, timm_encoder
from awase.encoders.word_vectors import word_vectors
from awase.encoders.wrap import wrap
from awase.types import Encoder

_log = logging.getLogger(__name__)

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "small_cnn": small_cnn,
    "small_transformer": small_transformer,
    "small_vit": small_vit,
    "mlp": mlp,
    "features": features,
    "davenet": davenet,
    "word_vectors": word_vectors,
    "resnet18": resnet18,
    "timm": timm_encoder,
    "transformers": transformers_encoder,
}
_BUILT_IN = ("small_cnn", "small_transformer", "small_vit", "mlp", "features", "davenet", "word_vectors")
_DEFAULTS = {"text": "small_transformer", "array": "mlp"}


def default_encoder(kind: str) -> EncoderConfig:
    """The small built-in encoder of a kind: it trains from random weights in seconds to minutes on a CPU."""
    _check_kind(kind)
    return EncoderConfig(name=_DEFAULTS.get(kind, "small_cnn"))


def build_encoder(
    config: EncoderConfig, *, kind: str, input_shape: tuple[int, ...], seed: int, allow_pickle: bool = False
) -> nn.Module:
    """An encoder (`types.Encoder`) for samples of `input_shape`, whose random weights follow from `seed` alone.

    The global random state is left as it was. `input_shape` is of one sample: image (channels, height, width); video
    (frames, channels, height, width); flow (frames, 2, height, width); audio (1, bins, frames) or (samples,); text
    (max_tokens,); array its own. A callable as `config.name` is called with the options, and with those of `kind`,
    `input_shape` and `pretrained` that it names; what it returns is wrapped if it has no prefix and suffix. Raises
    `ValueError` for an unknown encoder, option, kind or shape, `FileNotFoundError` where weights cannot be had.
    """
    _check_kind(kind)
    request = Request(kind, tuple(input_shape), config.pretrained, allow_pickle)
    with _seeded(seed):
        encoder = _named(config.name, config, request) if isinstance(config.name, str) else _own(config, request)
    encoder.provenance = _provenance(config)  # type: ignore[assignment]
    return encoder


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The CPU generator begins at `seed` inside and is restored after; those of other devices are not touched."""
    state = torch.random.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(state)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"No kind of modality is called {kind!r}; there are {', '.join(KINDS)}.")


def _named(name: str, config: EncoderConfig, request: Request) -> nn.Module:
    if name not in ENCODERS:
        raise ValueError(f"No encoder is called {name!r}; there are {', '.join(sorted(ENCODERS))}.")
    constructor = ENCODERS[name]
    _check_options(name, constructor, config.options)
    if name not in _BUILT_IN:
        return constructor(request, **config.options)
    encoder = constructor(Request(request.kind, request.input_shape), **config.options)
    if config.pretrained is not False:
        _load_own(encoder, name, request)
    return encoder


def _check_options(name: str, constructor: Callable[..., Any], options: dict[str, Any]) -> None:
    valid = [p.name for p in inspect.signature(constructor).parameters.values() if p.kind is p.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(valid))
    if unknown:
        raise ValueError(f"The encoder {name!r} has no option {', '.join(unknown)}; it has {', '.join(valid)}.")


def _load_own(encoder: nn.Module, name: str, request: Request) -> None:
    """Loads weights that this library saved; every tensor must be there and fit."""
    source = request.pretrained
    if not isinstance(source, str) or not is_local(source):
        raise ValueError(f"The encoder {name!r} has no published weights: use pretrained=False or a local folder.")
    file = weights_file(source, request.allow_pickle)
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(file)
    else:
        state = torch.load(file, map_location="cpu", weights_only=True)
    encoder.load_state_dict(state)


def _own(config: EncoderConfig, request: Request) -> nn.Module:
    assert callable(config.name)
    offered = {"kind": request.kind, "input_shape": request.input_shape, "pretrained": request.pretrained}
    names = inspect.signature(config.name).parameters
    taken = {name: value for name, value in offered.items() if name in names}
    module = config.name(**{**taken, **config.options})
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"An encoder of your own must be a torch module; {config.name!r} gave a {type(module).__name__}."
        )
    return module if isinstance(module, Encoder) else wrap(module, request.kind, request.input_shape)


def _provenance(config: EncoderConfig) -> Provenance:
    if not isinstance(config.name, str):
        name = getattr(config.name, "__qualname__", type(config.name).__name__)
        return Provenance(name, f"as {name} makes them")
    model = config.options.get("model") or config.options.get("architecture")
    name = f"{config.name}/{model}" if isinstance(model, str) else config.name
    if config.pretrained is False:
        return Provenance(name)
    if isinstance(config.pretrained, str):
        return Provenance(name, config.pretrained)
    return Provenance(name, f"timm/{model or 'resnet18'}" if config.name != "transformers" else str(model))
