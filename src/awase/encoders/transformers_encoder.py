"""transformers models as encoders of text and audio."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import JsonValue
from torch import Tensor, nn
from torch.nn import functional as F

from awase.encoders.blocks import BlockEncoder
from awase.encoders.masks import masked_mean, token_mask
from awase.encoders.request import Request
from awase.encoders.split_attention import split_attention
from awase.encoders.transformers_parts import PARTS, BertWords, Parts
from awase.encoders.transformers_weights import create_model
from awase.types import Encoded, Inputs, Tokens

Pool = Literal["auto", "cls", "mean"]
_AST = "audio-spectrogram-transformer"


class TransformersNetwork(nn.Module):
    """A transformers encoder in stem, layers and head.

    Text is `input_ids` and `attention_mask`. Audio is a waveform (batch, samples), scaled to zero mean and unit
    variance per clip, or a spectrogram (batch, 1, bins, frames), turned as the model wants it. `pool` is `cls` (the
    first token; of the audio spectrogram transformer the mean of its two) or `mean` (over the real tokens); `auto` is
    `mean` for waveforms and for architectures that run as one block, `cls` for the others.
    """

    def __init__(self, model: Any, pool: Pool) -> None:
        super().__init__()
        self.model = model
        self.parts: Parts | None = PARTS.get(model.config.model_type)
        self.dim = int(model.config.hidden_size)
        self.pool = _pool(model, pool)
        self.layers: tuple[str, ...] = ()
        if self.parts is not None:
            number = len(model.get_submodule(self.parts.layers))
            self.layers = tuple(f"{self.parts.layers}.{i}" for i in range(number))
        self.block_names = tuple(f"model.{name}" for name in self.layers) or ("model",)
        self.stem_names = tuple(f"model.{name}" for name in self.parts.stem_names) if self.parts else ()

    def stem(self, inputs: Inputs) -> dict[str, Tensor]:
        values, mask = self._values(inputs)
        hidden = values if self.parts is None else self.parts.stem(self.model, values)
        return {"hidden": hidden} if mask is None else {"hidden": hidden, "mask": mask}

    def block(self, index: int, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        mask = hidden.get("mask")
        if self.parts is None:
            return {**hidden, "hidden": self._whole(hidden["hidden"], mask)}
        layer = self.model.get_submodule(self.layers[index])
        attend = None if mask is None else mask[:, None, None, :]  # (batch, heads, queries, keys)
        return {**hidden, "hidden": layer(hidden["hidden"], attention_mask=attend)}

    def head(self, hidden: Mapping[str, Tensor]) -> Encoded:
        tokens, mask = hidden["hidden"], hidden.get("mask")
        if self.parts is not None:
            tokens = self.parts.after(self.model, tokens)
        return Encoded(self._pooled(tokens, mask), tokens, mask)

    @property
    def passes_tokens(self) -> bool:
        return self.parts is not None

    @property
    def word_embeddings(self) -> BertWords | None:
        return BertWords(self.model) if self.model.config.model_type == "bert" else None

    def read(self, hidden: Mapping[str, Tensor]) -> Tokens:
        return Tokens(hidden["hidden"], hidden.get("mask"))

    def write(self, tokens: Tokens) -> dict[str, Tensor]:
        return {"hidden": tokens.values} if tokens.mask is None else {"hidden": tokens.values, "mask": tokens.mask}

    def last_rows(self, index: int, tokens: Tokens, count: int) -> Tensor | None:
        if self.parts is None or self.parts.last_rows is None:
            return None
        return self.parts.last_rows(self.model.get_submodule(self.layers[index]), tokens.values, tokens.mask, count)

    def finish(self, tokens: Tokens) -> Encoded:
        return self.head(self.write(tokens))

    def _values(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        if not isinstance(inputs, Tensor):
            return inputs["input_ids"], token_mask(inputs["attention_mask"])
        if inputs.dim() == 2:
            return F.layer_norm(inputs, inputs.shape[-1:]), None
        spectrogram = inputs.squeeze(1)  # (batch, bins, frames)
        return (spectrogram if self._wants_bins_first() else spectrogram.transpose(1, 2)), None

    def _wants_bins_first(self) -> bool:
        return bool(self.model.main_input_name == "input_features")

    def _whole(self, values: Tensor, mask: Tensor | None) -> Tensor:
        masked = {} if mask is None else {"attention_mask": mask.long()}
        result: Tensor = self.model(**{self.model.main_input_name: values}, **masked).last_hidden_state
        return result

    def _pooled(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        if self.pool == "cls":
            return tokens[:, :2].mean(1) if self.model.config.model_type == _AST else tokens[:, 0]
        return tokens.mean(1) if mask is None else masked_mean(tokens, mask)


def _pool(model: Any, pool: Pool) -> Pool:
    if pool != "auto":
        return pool
    parts = PARTS.get(model.config.model_type)
    return "cls" if parts is not None and "embeddings" in parts.stem_names else "mean"


def transformers_encoder(
    request: Request,
    *,
    model: str | None = None,
    architecture: str | None = None,
    config: Mapping[str, JsonValue] | None = None,
    pool: Pool = "auto",
) -> BlockEncoder:
    """Any transformers encoder of text or audio; of encoder-decoder models the encoder.

    `model` is a folder or a Hub name; `architecture` (`bert`, `wav2vec2`, ...) builds one from its configuration
    alone, with random weights. `config` changes fields of the configuration. BERT and its relatives, wav2vec 2.0,
    HuBERT and the audio spectrogram transformer are cut between their layers, others are one block.
    """
    request.need("transformers", ("text", "audio"))
    created = create_model(model, architecture, config or {}, request)
    _check_size(created.config, request)
    split_attention(created)
    return BlockEncoder(TransformersNetwork(created, pool))


def _check_size(config: Any, request: Request) -> None:
    """Raises `ValueError` where the input does not fit the positions the model has."""
    if request.kind == "text":
        limit = getattr(config, "max_position_embeddings", None)
        if limit is not None and request.input_shape[0] > limit:
            raise ValueError(f"The model reads at most {limit} tokens; max_tokens is {request.input_shape[0]}.")
    elif config.model_type == _AST:
        wanted = (1, config.num_mel_bins, config.max_length)
        if request.input_shape != wanted:
            raise ValueError(f"The model takes spectrograms of shape {wanted}; the input gives {request.input_shape}.")
