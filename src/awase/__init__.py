"""Awase: learning from several modalities at once, each with its own encoder, joined by small adapters."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from awase.runner.collection import Collection
    from awase.runner.loaded import Model, load_model
    from awase.runner.space import Space

__version__ = "0.1.0"
__all__ = ["Collection", "Model", "Space", "load_model"]

_PLACES = {
    "Collection": "awase.runner.collection",
    "Model": "awase.runner.loaded",
    "Space": "awase.runner.space",
    "load_model": "awase.runner.loaded",
}


def __getattr__(name: str) -> Any:
    """The names in `__all__`, imported when first asked for: `import awase` imports nothing heavy."""
    if name not in _PLACES:
        raise AttributeError(f"module 'awase' has no attribute {name!r}; it offers {', '.join(__all__)}.")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
