"""What the adapters of old towers begin with, so that they disturb little of what the towers did before."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from awase.adapters import (
    Bank,
    accumulated_covariance,
    feature_basis,
    inflora_directions,
    keeplora_directions,
    osrm_directions,
)
from awase.adapters.adapter import Adapter
from awase.adapters.bank import DEFAULT_KEY
from awase.adapters.subspaces import SAME, complement
from awase.config import StageConfig
from awase.config.policies import LowRankPolicy
from awase.fusion.rows import evaluating
from awase.types import Batch

log = logging.getLogger(__name__)
Layers = dict[str, tuple[nn.Module, Adapter]]
"""Name in the model -> layer and its adapter."""
Forward = Callable[[Batch], Tensor]
"""A pass of the model over a batch -> the loss of the batch."""


def begin_directions(
    model: nn.Module,
    layers: Layers,
    policy: LowRankPolicy,
    forward: Forward,
    batches: Callable[[], Iterable[Batch]],
    earlier: Callable[[], Iterable[Batch]] | None,
    *,
    device: str,
) -> None:
    """Sets A of every adapter in `layers` to the policy's directions, and lets it stand still.

    They come from what each layer takes in evaluation mode, the same on every process: of old samples from one pass
    over `earlier`, of new ones from one over `batches`, and, for `keeplora`, from the gradient of the loss of new
    batches, their mean. `forward` gives that loss of a batch. Without `earlier` old and new samples are the same, so
    that `inflora` takes the leading directions of the share 1 - energy that is left.
    A layer of which fewer than `rank` directions are left has these alone, and zeros below; the log says so. All layers
    have directions (`check_low_rank`).
    """
    if policy.directions == "random":
        return
    weights = {name: layer.get_parameter("weight") for name, (layer, _) in layers.items()}
    walk = partial(_walk, model, layers, forward, device=device)
    new, gradients = walk(batches(), gradients=policy.directions == "keeplora")
    old = new if earlier is None else walk(earlier())[0]
    short = []
    for name, (_, adapter) in layers.items():
        weight = weights[name].detach().flatten(1)
        rows = _directions(policy, old[name], new[name], weight, gradients.get(name))
        if len(rows) < policy.rank:
            short.append(name)
        with torch.no_grad():
            adapter.A.zero_().flatten(1)[: len(rows)].copy_(rows)
        adapter.A.requires_grad_(False)
    if short:
        log.warning(
            "%d of %d layers have fewer than %d directions left, among them %s, and their adapters no more; a lower "
            "rank or energy gives them more room",
            len(short),
            len(layers),
            policy.rank,
            short[0],
        )


def _walk(
    model: nn.Module,
    layers: Layers,
    forward: Forward,
    batches: Iterable[Batch],
    *,
    device: str,
    gradients: bool = False,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The covariance of what each layer takes, and, if asked for, the mean gradient of its weight, flat."""
    covariances = {name: (_zeros(adapter, device), 0) for name, (_, adapter) in layers.items()}

    def taken(name: str, rows: Tensor) -> None:
        covariances[name] = accumulated_covariance(*covariances[name], rows)

    weights = {name: layer.get_parameter("weight") for name, (layer, _) in layers.items()} if gradients else {}
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    count = 0
    with evaluating(model), _watched(layers, taken), _learning(weights.values()):
        for batch in (one.to(device) for one in batches):
            with torch.set_grad_enabled(gradients):
                loss = forward(batch)
            count += 1
            if not gradients:
                continue
            found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for name, gradient in zip(weights, found, strict=True):
                if gradient is not None:  # of a layer that the batch does not reach
                    sums[name] += gradient
    means = {name: value.flatten(1) / count for name, value in sums.items()}
    return {name: covariance for name, (covariance, _) in covariances.items()}, means


def learned_directions(layers: Layers, initial: nn.Module, rank: int) -> dict[str, Float[Tensor, "rank inputs"]]:
    """The leading `rank` right singular vectors of what each layer's weight has changed by since `initial`.

    The directions of its input along which the earlier stages learned, which for a stage of adapters are those of its
    matrices A: fewer than `rank` where there are not so many. A layer that has not changed is left out.
    """
    found = {}
    for name, (layer, _) in layers.items():
        weight = layer.get_parameter("weight").detach()
        change = (weight - initial.get_submodule(name).get_parameter("weight").to(weight)).flatten(1)
        if change.any():
            _, lengths, directions = torch.linalg.svd(change.double(), full_matrices=False)
            found[name] = directions[:rank][lengths[:rank] > SAME * lengths[0]].to(weight.dtype)
    return found


def adapted_layers(
    model: nn.Module, modalities: Iterable[str], places: Sequence[str] = ("encoders", "projections")
) -> Layers:
    """The layers of these modalities' encoders (and heads) that have an adapter of their tower's."""
    found: Layers = {}
    for name in modalities:
        for attribute in places:
            module = model.get_submodule(attribute).get_submodule(name)
            bank = Bank(module)
            if not bank.keys():  # features that are given as they are
                continue
            for path, adapter in bank.adapters(DEFAULT_KEY).items():
                full = ".".join(part for part in (attribute, name, path) if part)
                found[full] = (module.get_submodule(path), adapter)
    return found


def _directions(
    policy: LowRankPolicy,
    old: Float[Tensor, "inputs inputs"],
    new: Float[Tensor, "inputs inputs"],
    weight: Float[Tensor, "outputs inputs"],
    gradient: Float[Tensor, "outputs inputs"] | None,
) -> Float[Tensor, "rank inputs"]:
    """The policy's directions, from the covariances of old and new samples; fewer where not so many are left."""
    if policy.directions == "osrm":
        return osrm_directions(old, min(policy.rank, len(old)))
    basis = feature_basis(old, energy=policy.energy)
    removed = basis
    if gradient is not None:
        main = feature_basis(weight.double().T @ weight.double(), energy=policy.energy)
        removed = torch.cat([main, basis.to(main)], dim=1)
    rank = min(policy.rank, complement(removed).shape[1])
    if rank == 0:
        return old.new_zeros(0, len(old))
    if gradient is None:
        return inflora_directions(new, basis, rank)
    return keeplora_directions(weight, gradient, basis, rank, energy=policy.energy)


def _zeros(adapter: Adapter, device: str) -> Tensor:
    size = adapter.A[0].numel()
    return torch.zeros(size, size, dtype=torch.float64, device=device)


def check_low_rank(model: nn.Module, stage: StageConfig) -> None:
    """Raises `ValueError` for a stage whose policy asks for directions of a layer that they are not found for."""
    kept = () if stage.retrieval is None or stage.retrieval.kept is None else stage.retrieval.kept.policies
    policies = [one for one in kept if isinstance(one, LowRankPolicy)]
    policies += [] if stage.stream is None or stage.stream.low_rank is None else [stage.stream.low_rank]
    if all(policy.directions == "random" for policy in policies):
        return
    places = ("encoders",) if stage.retrieval is None else ("encoders", "projections")
    for name, (layer, _) in adapted_layers(model, stage.adapters, places).items():
        if not has_directions(layer):
            raise ValueError(
                f"Directions are found for linear layers and for convolutions of pictures and signals; {name} is a "
                f"{type(layer).__name__}. Name other layers in the policy's `targets`, or set directions='random'."
            )


def has_directions(layer: nn.Module) -> bool:
    """Whether a layer multiplies its flattened weight with vectors, or with patches of pictures or signals."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return layer.groups == 1 and not isinstance(layer.padding, str)
    return isinstance(layer, nn.Linear)


def layer_rows(layer: nn.Module, value: Tensor) -> Float[Tensor, "rows inputs"]:
    """What a layer that `has_directions` multiplies with its flattened weight."""
    flat = value.detach()
    if not isinstance(layer, nn.Conv1d | nn.Conv2d):
        return flat.flatten(0, -2)
    assert not isinstance(layer.padding, str), "the layer has directions"
    sizes: dict[str, tuple[int, ...]] = {
        "kernel_size": layer.kernel_size,
        "dilation": layer.dilation,
        "padding": layer.padding,
        "stride": layer.stride,
    }
    if isinstance(layer, nn.Conv1d):  # a picture of one line
        flat = flat.unsqueeze(-2)
        sizes = {name: (0 if name == "padding" else 1, *size) for name, size in sizes.items()}
    return F.unfold(flat, **sizes).transpose(1, 2).flatten(0, 1)


@contextmanager
def _watched(layers: Layers, taken: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Within the block `taken(name, rows)` hears of everything that the layers take."""

    def hook(name: str, layer: nn.Module) -> Callable[..., None]:
        return lambda module, args: taken(name, layer_rows(layer, args[0]))

    handles = [layer.register_forward_pre_hook(hook(name, layer)) for name, (layer, _) in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _learning(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Within the block the parameters, which stand still otherwise, have gradients."""
    own = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in own:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in own:
            parameter.requires_grad_(False)
