"""Adapters to and from folders in PEFT's format: `adapter_config.json` beside `adapter_model.safetensors`."""

import re
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from awase.adapters.bank import DEFAULT_KEY, Bank
from awase.adapters.peft_config import read_config, scale_of, write_config
from awase.adapters.peft_tensors import from_peft, fuse_projections, split_projections, to_peft
from awase.files import whole_file

WEIGHTS_NAME = "adapter_model.safetensors"
PICKLE_NAME = "adapter_model.bin"
PREFIX = "base_model.model."
BASE = "awase_base"
"""The entry of a file's metadata with the fingerprint of the encoder that its adapters were trained over."""


def save_peft(bank: Bank, folder: Path, key: str = DEFAULT_KEY, *, fuse_qkv: bool = False) -> None:
    """Writes the adapters of `key` so that `PeftModel.from_pretrained(bank.encoder, folder)` gives the same outputs.

    Layer names are those inside `bank.encoder`; for a model inside a wrapper pass `Bank(encoder.model)`. A grouped
    convolution becomes an adapter of `groups * rank` with zeros between groups, which PEFT can run. With `fuse_qkv` the
    adapters of split projections `<name>.q`, `.k`, `.v` become one block-structured adapter of three times the rank on
    the fused layer `<name>`, as the unsplit model has it. The file names the base by its fingerprint, unless fused.
    Raises `KeyError` for an unknown key, `ValueError` for a
    convolution that PEFT computes in another way (dilation, or padding by other values than zero).
    """
    entries = {
        name: to_peft(name, bank.encoder.get_submodule(name), adapter) for name, adapter in bank.adapters(key).items()
    }
    if fuse_qkv:
        entries = fuse_projections(entries)
    tensors = {f"{PREFIX}{name}.{part}": t for name, entry in entries.items() for part, t in entry.tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / WEIGHTS_NAME) as path:
        save_file(tensors, path, metadata={"format": "pt"} | ({} if fuse_qkv else {BASE: bank.fingerprint()}))
    write_config(
        folder,
        {name: entry.rank for name, entry in entries.items()},
        {name: entry.scale for name, entry in entries.items()},
        next(iter(entries.values())).dropout,
        _exact_targets(bank.encoder, list(entries)),
    )


def load_peft(encoder: nn.Module, folder: Path, key: str = DEFAULT_KEY, *, any_base: bool = False) -> Bank:
    """The bank of `encoder` after adding, as `key`, the adapters that PEFT or `save_peft` wrote to `folder`.

    A file for a fused `<name>` loads into an encoder with split `<name>.q`, `.k`, `.v`. Raises `FileNotFoundError`
    where a file is missing, `ValueError` where `save_peft` wrote it over other weights than the encoder's (unless
    `any_base`), for a pickled file, an option that plain LoRA does not have, layers that the
    encoder lacks (listed), and shapes that do not fit.
    """
    config = read_config(folder)
    written = _read_tensors(folder)
    found = split_projections(written, encoder)
    _check_layers(encoder, found, folder)
    adapters = {name: _adapter(encoder, config, name, parts) for name, parts in found.items()}
    bank = Bank(encoder)
    if not any_base and set(found) == set(written):
        _check_base(bank, folder)
    bank.add(key, adapters)
    return bank


def _adapter(encoder: nn.Module, config: dict[str, Any], name: str, parts: dict[str, Tensor]) -> Any:
    dropout = float(config.get("lora_dropout") or 0.0)
    return from_peft(name, encoder.get_submodule(name), parts, lambda rank: scale_of(config, name, rank), dropout)


def _read_tensors(folder: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of each layer, by their part of PEFT's name (`lora_A.weight`)."""
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        if (folder / PICKLE_NAME).is_file():
            raise ValueError(
                f"{folder / PICKLE_NAME} is a pickle, which can run code when it is read, and is not opened. Save the "
                "adapter again with a PEFT that writes safetensors."
            )
        raise FileNotFoundError(f"There is no {WEIGHTS_NAME} in {folder}.")
    layers: dict[str, dict[str, Tensor]] = {}
    for full, tensor in load_file(path).items():
        match = re.fullmatch(r"(?:base_model\.model\.)?(.*)\.(lora_(?:embedding_)?[AB](?:\.weight)?)", full)
        if match is None:
            raise ValueError(f"{path} has the tensor {full!r}, which is no `A` or `B` of a LoRA layer.")
        layers.setdefault(match[1], {})[match[2]] = tensor
    return layers


def _check_layers(encoder: nn.Module, found: dict[str, Any], folder: Path) -> None:
    missing = sorted(set(found) - {name for name, _ in encoder.named_modules()})
    if missing:
        raise ValueError(
            f"The adapter in {folder} is for another model: this {type(encoder).__name__} has no layer "
            f"{', '.join(missing)}. Its layers begin with {', '.join(name for name, _ in encoder.named_children())}."
        )


def _check_base(bank: Bank, folder: Path) -> None:
    with safe_open(folder / WEIGHTS_NAME, framework="pt") as file:
        base = (file.metadata() or {}).get(BASE)
    if base is not None and base != bank.fingerprint():
        raise ValueError(
            f"The adapter in {folder} was trained over other weights than those of this {type(bank.encoder).__name__}: "
            "load it into the encoder it was saved from, or pass any_base=True to use it all the same."
        )


def _exact_targets(encoder: nn.Module, names: list[str]) -> str:
    """A regular expression of `names` where PEFT's list, which also matches ends of names, would hit other layers."""
    others = [name for name, _ in encoder.named_modules() if name not in names]
    if not any(other.endswith(f".{name}") for name in names for other in others):
        return ""
    return "|".join(re.escape(name) for name in names)
