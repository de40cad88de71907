"""Compositions of encoders, adapters and fusion."""

from awase.models.classifier import Classifier

__all__ = ["Classifier"]
