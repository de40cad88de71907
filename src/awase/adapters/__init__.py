"""Low-rank adapters on the layers of an encoder: the bank that keeps them by key, and files in PEFT's format."""

from awase.adapters.bank import Bank, adapter_parameter_names
from awase.adapters.peft_files import load_peft, save_peft
from awase.adapters.targets import PRESETS, resolve_targets

__all__ = ["PRESETS", "Bank", "adapter_parameter_names", "load_peft", "resolve_targets", "save_peft"]
