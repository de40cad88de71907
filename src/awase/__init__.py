"""Awase: learning from several modalities at once, each with its own encoder, joined by small adapters."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from awase.runner.loaded import Model, load_model
    from awase.runner.space import Space

__version__ = "0.1.0"
__all__ = ["Model", "Space", "load_model"]

_PLACES = {"Model": "awase.runner.loaded", "load_model": "awase.runner.loaded", "Space": "awase.runner.space"}


def __getattr__(name: str) -> Any:
    """`Model`, `Space` and `load_model`, imported when first asked for: `import awase` imports nothing heavy."""
    if name not in _PLACES:
        raise AttributeError(f"module 'awase' has no attribute {name!r}; it offers {', '.join(__all__)}.")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
