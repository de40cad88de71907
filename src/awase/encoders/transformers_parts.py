"""How a transformers model comes apart into stem, blocks and head. Plain functions of the model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Parts:
    """One family: where its layers are, what runs before them and what after."""

    layers: str
    stem_names: tuple[str, ...]
    stem: Callable[[Any, Tensor], Tensor]
    after: Callable[[Any, Tensor], Tensor]


def _embedded(model: Any, inputs: Tensor) -> Tensor:
    hidden: Tensor = model.embeddings(inputs)
    project = getattr(model, "embeddings_project", None)  # ELECTRA's small embeddings
    return hidden if project is None else project(hidden)


def _unchanged(model: Any, hidden: Tensor) -> Tensor:
    return hidden


def _layer_norm(model: Any, hidden: Tensor) -> Tensor:
    result: Tensor = model.layernorm(hidden)
    return result


def _wave_features(model: Any, waveform: Tensor) -> Tensor:
    """Convolved waveform, projected, with its convolutional position embedding."""
    features = model.feature_extractor(waveform).transpose(1, 2)
    projected = model.feature_projection(features)
    hidden = projected[0] if isinstance(projected, tuple) else projected
    encoder = model.encoder
    hidden = hidden + encoder.pos_conv_embed(hidden)
    if not _norm_last(model):
        hidden = encoder.layer_norm(hidden)
    result: Tensor = encoder.dropout(hidden)
    return result


def _wave_after(model: Any, hidden: Tensor) -> Tensor:
    result: Tensor = model.encoder.layer_norm(hidden) if _norm_last(model) else hidden
    return result


def _norm_last(model: Any) -> bool:
    return bool(model.config.do_stable_layer_norm)


_BERT = Parts("encoder.layer", ("embeddings",), _embedded, _unchanged)
_DISTILBERT = Parts("transformer.layer", ("embeddings",), _embedded, _unchanged)
_WAVE = Parts("encoder.layers", ("feature_extractor", "feature_projection"), _wave_features, _wave_after)
_AST = Parts("layers", ("embeddings",), _embedded, _layer_norm)

PARTS: dict[str, Parts] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "distilbert": _DISTILBERT,
    "wav2vec2": _WAVE,
    "hubert": _WAVE,
    "audio-spectrogram-transformer": _AST,
}
"""Model type -> its parts; a type that is not here runs as one block."""
