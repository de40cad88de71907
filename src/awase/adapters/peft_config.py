"""What PEFT's `adapter_config.json` says about LoRA, as far as it can be honoured; the rest is refused by name."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from awase.files import write_text

CONFIG_NAME = "adapter_config.json"
CHANGES_THE_LAYER = (
    "use_dora", "use_qalora", "use_bdlora", "lora_bias", "modules_to_save", "trainable_token_indices",
    "layer_replication", "target_parameters", "alora_invocation_tokens", "arrow_config", "kasa_config",
)  # fmt: skip
"""Options of PEFT under which a layer computes something else than `W + scale B A`, or more is stored than `A`, `B`."""
KEEPS_THE_BASE = (True, False, None, "gaussian", "eva", "orthogonal")
"""Initialisations that leave the base weights as they were (PiSSA, OLoRA, CorDA, LoftQ change them)."""


def write_config(
    folder: Path, ranks: Mapping[str, int], scales: Mapping[str, float], dropout: float, exact: str
) -> None:
    """Writes the configuration of adapters of the given ranks and scales by layer name.

    Layers whose rank or alpha is not the most frequent one stand in PEFT's `rank_pattern` and `alpha_pattern`.
    `exact` is the regular expression of the targeted names, for the case that a plain list would match other layers
    too; empty where a list will do.
    """
    alphas = {name: scales[name] * rank for name, rank in ranks.items()}
    rank, alpha = _most_frequent(ranks), _most_frequent(alphas)
    document = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "target_modules": exact or list(ranks),
        "rank_pattern": {_pattern(name): value for name, value in ranks.items() if value != rank},
        "alpha_pattern": {_pattern(name): value for name, value in alphas.items() if value != alpha},
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
    }
    write_text(folder / CONFIG_NAME, json.dumps(document, indent=2) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration in `folder`, checked.

    Raises `FileNotFoundError` where there is none, `ValueError` for another method than LoRA and for an option that
    changes what a layer computes (`CHANGES_THE_LAYER`), its base weights, or its bias.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {CONFIG_NAME} in {folder}; give the folder that PEFT's `save_pretrained` wrote."
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}).") from None
    if not isinstance(document, dict) or document.get("peft_type") != "LORA":
        raise ValueError(f"{path} does not describe a LoRA adapter; only peft_type 'LORA' can be loaded.")
    changed = [option for option in CHANGES_THE_LAYER if document.get(option)]
    if document.get("bias", "none") != "none":
        changed.append(f"bias={document['bias']!r}")
    if document.get("init_lora_weights", True) not in KEEPS_THE_BASE:
        changed.append(f"init_lora_weights={document['init_lora_weights']!r} (convert it to plain LoRA in PEFT first)")
    if changed:
        raise ValueError(
            f"{path} uses {', '.join(changed)}, which is not supported; plain and rank-stabilised LoRA are."
        )
    return document


def scale_of(config: Mapping[str, Any], name: str, rank: int) -> float:
    """alpha / rank of the layer `name`, or alpha / sqrt(rank) under rank-stabilised LoRA."""
    patterns: dict[str, float] = config.get("alpha_pattern") or {}
    matching = (value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", name))
    alpha = float(next(matching, config.get("lora_alpha", 8)))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _pattern(name: str) -> str:
    """A regular expression that PEFT matches against this name alone, not against names that end in it."""
    return f"^{re.escape(name)}"


def _most_frequent(values: Mapping[str, int] | Mapping[str, float]) -> int | float:
    listed = list(values.values())
    return max(listed, key=listed.count)
