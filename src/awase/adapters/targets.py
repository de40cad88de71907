"""Which layers of an encoder an adapter sits on: presets by role, or patterns over layer names."""

import re
from collections import Counter
from fnmatch import fnmatchcase

from torch import nn

from awase.adapters.layers import CONVOLUTIONS, LAYERS

QUERY = ("q", "query", "q_proj", "q_lin")
KEY = ("k", "key", "k_proj", "k_lin")
VALUE = ("v", "value", "v_proj", "v_lin")
OUTPUT = ("proj", "out_proj", "o_proj", "out", "o", "out_lin")
PRESETS = ("default", "q,v", "qkv", "qkvo", "all-linear", "all-conv", "all-conv-no-stem")


def resolve_targets(encoder: nn.Module, targets: str | tuple[str, ...], last_layers: int | None = None) -> list[str]:
    """Names of the layers of `encoder` that `targets` means, in module order.

    A preset is one of `PRESETS`: `q,v`, `qkv` and `qkvo` are the linears of attention by the last part of their names,
    `all-linear` and `all-conv` every layer of the kind, `all-conv-no-stem` all convolutions but the first, `default`
    the first of `q,v`, `all-conv-no-stem` and `all-linear` that the encoder has. Anything else is a pattern
    (`fnmatch`) over full names; a tuple joins several. `last_layers` keeps what lies in the last so many blocks.
    Raises `ValueError` naming what exists when a target, or the blocks kept, match nothing.
    """
    layers = _layers(encoder)
    chosen: set[str] = set()
    for target in (targets,) if isinstance(targets, str) else targets:
        found = _match(layers, target)
        if not found:
            raise ValueError(
                f"The adapter target {target!r} matches no layer. Use one of {', '.join(PRESETS)}, or a pattern over "
                f"these layers: {_summary(layers)}."
            )
        chosen.update(found)
    names = [name for name in layers if name in chosen]
    return names if last_layers is None else _in_last_blocks(encoder, names, last_layers)


def _layers(encoder: nn.Module) -> dict[str, nn.Module]:
    """Every layer that can take an adapter by name; what a fused `nn.MultiheadAttention` holds is never called."""
    fused = {id(child) for m in encoder.modules() if isinstance(m, nn.MultiheadAttention) for child in m.modules()}
    return {
        name: module
        for name, module in encoder.named_modules()
        if isinstance(module, LAYERS) and id(module) not in fused
    }


def _match(layers: dict[str, nn.Module], target: str) -> list[str]:
    if target == "default":
        presets = ("q,v", "all-conv-no-stem", "all-linear")
        return next((found for preset in presets if (found := _match(layers, preset))), [])
    linears = [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]
    convolutions = [name for name, layer in layers.items() if isinstance(layer, CONVOLUTIONS)]
    roles = {"q,v": QUERY + VALUE, "qkv": QUERY + KEY + VALUE, "qkvo": QUERY + KEY + VALUE}
    if target in roles:
        found = [name for name in linears if _last(name) in roles[target]]
        return found + (_outputs(linears) if target == "qkvo" else [])
    kinds = {"all-linear": linears, "all-conv": convolutions, "all-conv-no-stem": convolutions[1:]}
    return kinds[target] if target in kinds else [name for name in layers if fnmatchcase(name, target)]


def _outputs(linears: list[str]) -> list[str]:
    """The linears after attention: beside the query projection or its parent, or BERT's `attention.output.dense`."""
    holders = {_parent(name) for name in linears if _last(name) in QUERY}
    attentions = holders | {_parent(name) for name in holders}  # split projections lie one level deeper
    beside = [name for name in linears if _last(name) in OUTPUT and _parent(name) in attentions]
    return beside + [name for name in linears if f".{name}".endswith(".attention.output.dense")]


def _in_last_blocks(encoder: nn.Module, names: list[str], last_layers: int) -> list[str]:
    blocks: tuple[str, ...] = getattr(encoder, "block_names", ())
    if last_layers > len(blocks):
        raise ValueError(
            f"Adapters in the last {last_layers} blocks were asked for, and this {type(encoder).__name__} has "
            f"{len(blocks)} blocks; give a smaller `last_layers`, or None for all layers."
        )
    kept = blocks[len(blocks) - last_layers :]
    inside = [name for name in names if any(name == block or name.startswith(f"{block}.") for block in kept)]
    if not inside:
        raise ValueError(
            f"No targeted layer lies in the last {last_layers} blocks ({', '.join(kept)}); the targets are "
            f"{', '.join(names)}. Use a larger `last_layers`, or other targets."
        )
    return inside


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _summary(layers: dict[str, nn.Module]) -> str:
    """The names with their numbers replaced by `*`, each with how often it occurs."""
    counts = Counter(re.sub(r"(?<![^.])\d+(?![^.])", "*", name) for name in layers)
    texts = [name if count == 1 else f"{name} ({count} layers)" for name, count in counts.items()]
    return ", ".join(texts) or "none; this encoder has no linear, convolution or embedding layer"
