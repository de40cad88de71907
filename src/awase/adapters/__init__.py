"""Low-rank adapters on the layers of an encoder: the bank that keeps them by key, and files in PEFT's format."""

from awase.adapters.bank import Bank, adapter_parameter_names
from awase.adapters.initialisation import inflora_directions, keeplora_directions, osrm_directions
from awase.adapters.merging import RULES, merged_adapters, merged_product
from awase.adapters.peft_files import load_peft, save_peft
from awase.adapters.subspaces import accumulated_covariance, feature_basis, null_space_update, span_projector
from awase.adapters.targets import PRESETS, resolve_targets

__all__ = [
    "PRESETS",
    "RULES",
    "Bank",
    "accumulated_covariance",
    "adapter_parameter_names",
    "feature_basis",
    "inflora_directions",
    "keeplora_directions",
    "load_peft",
    "merged_adapters",
    "merged_product",
    "null_space_update",
    "osrm_directions",
    "resolve_targets",
    "save_peft",
    "span_projector",
]
