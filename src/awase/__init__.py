"""Awase: learning from several modalities at once, each with its own encoder, joined by small adapters."""

__version__ = "0.1.0"
