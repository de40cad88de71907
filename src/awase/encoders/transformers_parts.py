"""How a transformers model comes apart into stem, blocks and head. Plain functions of the model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from awase.encoders.heads import join_heads, key_mask, split_heads


@dataclass(frozen=True)
class Parts:
    """One family: where its layers are, what runs before them and what after.

    `last_rows(layer, hidden, mask, count)` gives the last `count` tokens after a layer without the others.
    """

    layers: str
    stem_names: tuple[str, ...]
    stem: Callable[[Any, Tensor], Tensor]
    after: Callable[[Any, Tensor], Tensor]
    last_rows: Callable[[Any, Tensor, Tensor | None, int], Tensor] | None = None


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


def _bert_last_rows(layer: Any, hidden: Tensor, mask: Tensor | None, count: int) -> Tensor:
    own, last = layer.attention.self, hidden[:, -count:]
    q, k, v = split_heads(own.num_attention_heads, own.query(last), own.key(hidden), own.value(hidden))
    dropout = own.dropout.p if own.training else 0.0
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask(mask), dropout_p=dropout)
    attended = layer.attention.output(join_heads(mixed), last)
    result: Tensor = layer.output(layer.intermediate(attended), attended)
    return result


class BertWords:
    """`types.WordEmbeddings` of a BERT model."""

    def __init__(self, model: Any) -> None:
        self.embeddings = model.embeddings
        self.num_positions = int(model.config.max_position_embeddings)
        self.num_segments = int(model.config.type_vocab_size)

    def words(self, ids: Int[Tensor, "batch tokens"]) -> Tensor:
        embedded: Tensor = self.embeddings.word_embeddings(ids)
        return embedded

    def place(
        self,
        values: Float[Tensor, "batch tokens dim"],
        positions: Int[Tensor, " tokens"],
        segments: Int[Tensor, " tokens"],
    ) -> Tensor:
        everyone = segments.expand(len(values), -1)
        placed: Tensor = self.embeddings(inputs_embeds=values, position_ids=positions[None], token_type_ids=everyone)
        return placed


_BERT = Parts("encoder.layer", ("embeddings",), _embedded, _unchanged, _bert_last_rows)
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
