"""Awase: learning from several modalities at once, each with its own encoder, joined by small adapters."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from awase.runner.loaded import Model, load_model

__version__ = "0.1.0"
__all__ = ["Model", "load_model"]


def __getattr__(name: str) -> Any:
    """`Model` and `load_model`, imported when first asked for: `import awase` alone imports nothing heavy."""
    if name not in __all__:
        raise AttributeError(f"module 'awase' has no attribute {name!r}; it offers {', '.join(__all__)}.")
    from awase.runner import loaded

    return getattr(loaded, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
