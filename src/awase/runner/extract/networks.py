"""Frozen networks whose last hidden layer is a feature, and where their weights come from."""

import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from awase.digest import tensors_digest
from awase.encoders.hub import TIMEOUT_S, weights_file

PICTURE_NETWORKS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2"),
)
FILM_NETWORKS = ("r3d_18", "mc3_18", "r2plus1d_18")
_PUBLISHED = {"2d": "IMAGENET1K_V1", "3d": "KINETICS400_V1"}
_WRAPPERS = ("state_dict", "model", "model_state_dict")
_CLASSIFIERS = ("fc.", "classifier.", "head.", "last_linear.")


@dataclass(frozen=True)
class Weights:
    """A file, or the published ones, or (neither) random ones drawn from the seed."""

    file: Path | None = None
    pretrained: bool = False
    allow_pickle: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `ValueError` for two sources at once."""
        if self.file is not None and self.pretrained:
            raise ValueError("Give a file of weights or --pretrained, not both.")


@dataclass(frozen=True)
class FrozenNetwork:
    """A network in evaluation mode; `origin` says where its weights come from, `digest` what they are."""

    module: nn.Module
    origin: str
    digest: str

    @property
    def is_random(self) -> bool:
        """Whether it has learnt nothing."""
        return self.origin.startswith("random")


def picture_network(name: str, weights: Weights) -> FrozenNetwork:
    """(batch, 3, height, width) -> the mean over places of the last map: a ResNet of torchvision, or `timm/NAME`.

    Raises `ValueError` for another name or weights that do not fit, `FileNotFoundError` where weights cannot be had.
    """
    if name.startswith("timm/"):
        return _of_timm(name, weights)
    return _of_torchvision(name, "2d", PICTURE_NETWORKS, weights)


def film_network(name: str, weights: Weights) -> FrozenNetwork:
    """(batch, 3, frames, height, width) -> the last map's mean: a video network of torchvision; raises as above."""
    return _of_torchvision(name, "3d", FILM_NETWORKS, weights)


def frozen(module: nn.Module, origin: str) -> FrozenNetwork:
    """The module in evaluation mode, without gradients."""
    module.eval().requires_grad_(False)
    return FrozenNetwork(module, origin, tensors_digest(module.state_dict()))


def _of_torchvision(name: str, kind: str, valid: tuple[str, ...], weights: Weights) -> FrozenNetwork:
    import torchvision

    if name not in valid:
        raise ValueError(f"{name!r} is not a network for {kind} features; use one of {', '.join(valid)}.")
    network = _seeded(weights.seed, lambda: torchvision.models.get_model(name, weights=None))
    network.fc = nn.Identity()
    if weights.pretrained:
        published = torchvision.models.get_weight(f"{_weights_class(name)}.{_PUBLISHED[kind]}")
        _load(network, name, _downloaded(name, published))
        return frozen(network, f"torchvision {published}")
    return _own(network, name, weights)


def _own(network: nn.Module, name: str, weights: Weights) -> FrozenNetwork:
    """With the weights of a file, or as it is."""
    if weights.file is None:
        return frozen(network, f"random, seed {weights.seed}")
    _load(network, name, read_weights(weights.file, weights.allow_pickle))
    return frozen(network, f"file {weights.file.name}")


def _of_timm(name: str, weights: Weights) -> FrozenNetwork:
    from awase.encoders.request import Request
    from awase.encoders.timm_weights import create_model

    request = Request("image", (3, 224, 224), weights.pretrained)
    model = name.removeprefix("timm/")
    network, _ = _seeded(weights.seed, lambda: create_model(model, (3, 224, 224), {}, request))
    return frozen(network, f"timm {model}") if weights.pretrained else _own(network, name, weights)


def _weights_class(name: str) -> str:
    import torchvision

    return str(torchvision.models.get_model_weights(name).__name__)


def _downloaded(name: str, published: Any) -> Mapping[str, Tensor]:
    try:
        with _impatient():
            state: Mapping[str, Tensor] = published.get_state_dict(progress=False, check_hash=True, map_location="cpu")
    except (URLError, OSError) as error:
        raise FileNotFoundError(
            f"The weights {published} of {name!r} could not be fetched from {published.url} ({error}). Fetch them on a "
            "machine with network and pass the file with --weights FILE --allow-pickle, or leave out --pretrained for "
            "random weights."
        ) from error
    return state


@contextmanager
def _impatient() -> Any:
    """Connections that do not answer fail after some seconds."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _seeded(seed: int, make: Callable[[], Any]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


def read_weights(path: Path, allow_pickle: bool) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or, if allowed, of a pickle; names without what training wraps around them."""
    file = weights_file(str(path), allow_pickle)
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(file))
    state: Any = torch.load(file, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        state = state[wrapper] if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{file} does not hold a state dict, a mapping from names to tensors.")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _load(network: nn.Module, name: str, state: Mapping[str, Tensor]) -> None:
    """Every tensor of the network must be there and fit; the classifier, which features do not use, is left out."""
    wanted = network.state_dict()
    classifier = {key for key in state if key not in wanted and key.startswith(_CLASSIFIERS)}
    given = {key: value for key, value in state.items() if key not in classifier}
    # Batch norms of before 2017 count no batches, which an evaluation does not need.
    missing = sorted(key for key in set(wanted) - set(given) if not key.endswith("num_batches_tracked"))
    unknown = sorted(set(given) - set(wanted))
    unlike = sorted(key for key in set(given) & set(wanted) if given[key].shape != wanted[key].shape)
    for what, keys in (("lack", missing), ("also hold", unknown), ("have in another shape", unlike)):
        if keys:
            raise ValueError(
                f"The weights are not of {name!r}: they {what} {len(keys)} of its tensors, the first is {keys[0]!r}."
                if what != "also hold"
                else f"The weights are not of {name!r}: they also hold {len(keys)} other tensors, such as {keys[0]!r}."
            )
    network.load_state_dict({**wanted, **given})
    logging.getLogger(__name__).info("%s: %d tensors loaded", name, len(given))
