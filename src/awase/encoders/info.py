"""Where an encoder's weights come from, and which data sets that pretraining has already seen."""

import math
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Provenance:
    """What `build_encoder` notes on the encoder it made."""

    name: str
    weights: str = "random"


# What occurs in a weights' name -> the corpus. The first that occurs counts.
_CORPORA: tuple[tuple[str, str], ...] = (
    ("audioset", "AudioSet"),
    ("kinetics", "Kinetics"),
    ("k400", "Kinetics"),
    ("in22k", "ImageNet-22k"),
    ("in21k", "ImageNet-21k"),
    ("in12k", "ImageNet-12k"),
    ("in1k", "ImageNet-1k"),
    ("imagenet", "ImageNet-1k"),
    ("lvd142m", "LVD-142M"),
    ("dinov2", "LVD-142M"),
    ("lvd1689m", "LVD-1689M"),
    ("laion2b", "LAION-2B"),
    ("openai", "OpenAI WIT-400M"),
    ("clip-vit", "OpenAI WIT-400M"),
    ("dfn", "Data Filtering Networks pairs"),
    ("datacomp", "DataComp"),
    ("webli", "WebLI"),
    ("wav2vec2-base", "LibriSpeech"),
    ("wav2vec2-large-xlsr", "53 languages of CommonVoice, BABEL and MLS"),
    ("hubert-base", "LibriSpeech"),
    ("roberta", "BookCorpus, Wikipedia, CC-News, OpenWebText, Stories"),
    ("bert", "BookCorpus and Wikipedia"),
)
_OVERLAPS = {
    "AudioSet": "AVE is drawn from AudioSet: on AVE its test clips may have been seen in pretraining.",
    "Kinetics": "Kinetics-Sounds is drawn from Kinetics: on it test clips may have been seen in pretraining.",
}


def corpus_of(weights: str) -> str | None:
    """The corpus behind weights of this name; None for random weights and for names that do not tell."""
    lower = weights.lower()
    return next((corpus for part, corpus in _CORPORA if part in lower), None)


def encoder_info(encoder: nn.Module) -> dict[str, Any]:
    """What the record says about `encoder`, as JSON.

    `name`, `weights` (`random`, or the name of the file, folder or Hub repository), `corpus` (None where unknown),
    `overlaps` (a sentence where that corpus is known to contain a data set of this field, else None), `parameters`.
    """
    provenance = getattr(encoder, "provenance", Provenance(type(encoder).__name__, "unknown"))
    corpus = None if provenance.weights == "random" else corpus_of(provenance.weights)
    return {
        "name": provenance.name,
        "weights": provenance.weights if corpus is None else f"{provenance.weights} ({corpus})",
        "corpus": corpus,
        "overlaps": _OVERLAPS.get(corpus or ""),
        "parameters": sum(math.prod(p.shape) for p in encoder.parameters()),
    }
