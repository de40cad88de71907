"""Compositions of encoders, adapters, fusion, and of what a joint space is made of."""

from awase.models.classifier import Classifier
from awase.models.plain import OneModality, one_modality, plain
from awase.models.retrieval import Retrieval

__all__ = ["Classifier", "OneModality", "Retrieval", "one_modality", "plain"]
