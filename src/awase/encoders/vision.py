"""timm models as encoders of images, spectrograms, video frames and optical flow."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import JsonValue
from torch import Tensor, nn
from torch.nn import functional as F

from awase.encoders.blocks import BlockEncoder
from awase.encoders.frames import per_frame
from awase.encoders.request import Request
from awase.encoders.split_attention import split_attention
from awase.encoders.timm_parts import parts_of, vit_last_rows
from awase.encoders.timm_weights import create_model, rescaling
from awase.types import Encoded, Tokens

_KINDS = ("image", "audio", "video", "flow")


class TimmNetwork(nn.Module):
    """A timm model without its classifier, in stem, blocks and head.

    Video runs frame by frame and is averaged over time, its tokens are one vector per frame. Flow is stacked into
    2 x frames channels (u0, v0, u1, v1, ...). Inputs are expected in [-1, 1]; `rescale` holds a factor and a summand
    per channel that bring them to what the weights were trained on. Sides are filled up with zeros, right and below,
    to a multiple of `patch`.
    """

    rescale: Tensor

    def __init__(self, model: nn.Module, kind: str, patch: tuple[int, int], rescale: Float[Tensor, "2 channels"]):
        super().__init__()
        self.model = model
        self.kind = kind
        self.patch = patch
        self.parts = parts_of(model)
        self.register_buffer("rescale", rescale)  # saved: a model loaded again begins from no weights
        self.dim: int = getattr(model, "head_hidden_size", None) or model.num_features  # type: ignore[assignment]
        self.block_names = tuple(f"model.{name}".rstrip(".") for name in self.parts.block_names)
        self.stem_names = tuple(f"model.{name}" for name in self.parts.stem_names)

    def stem(self, inputs: Tensor) -> Tensor:
        x = inputs.flatten(1, 2) if self.kind == "flow" else inputs
        return self._each(lambda x: self.parts.stem(self.model, self._prepared(x)), x)

    def block(self, index: int, hidden: Tensor) -> Tensor:
        return self._each(lambda x: self.parts.block(self.model, index, x), hidden)

    def head(self, hidden: Tensor) -> Encoded:
        if self.kind == "video":
            frames = per_frame(lambda x: self._pooled(self.parts.features(self.model, x)), hidden)
            return Encoded(frames.mean(1), frames)
        features = self.parts.features(self.model, hidden)
        grid = (int(features.shape[2]), int(features.shape[3])) if features.dim() == 4 else None
        tokens = self.parts.tokens(features)
        return Encoded(self._pooled(features), tokens, grid=None if tokens is None else grid)

    @property
    def passes_tokens(self) -> bool:
        return self.parts.is_sequence

    @property
    def word_embeddings(self) -> None:
        return None

    def read(self, hidden: Tensor) -> Tokens:
        return Tokens(hidden.flatten(1, 2), pieces=hidden.shape[1]) if self.kind == "video" else Tokens(hidden)

    def write(self, tokens: Tokens) -> Tensor:
        return tokens.values.unflatten(1, (tokens.pieces, -1)) if self.kind == "video" else tokens.values

    def last_rows(self, index: int, tokens: Tokens, count: int) -> Tensor | None:
        if tokens.pieces > 1:
            return None
        return vit_last_rows(self.model.blocks[index], tokens.values, count)  # type: ignore[index]

    def finish(self, tokens: Tokens) -> Encoded:
        features = self.parts.features(self.model, tokens.values)
        if self.kind != "video":
            return Encoded(self._pooled(features), features)
        frames = per_frame(self._pooled, features.unflatten(1, (tokens.pieces, -1)))
        return Encoded(frames.mean(1), features)

    def _each(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return per_frame(function, x) if self.kind == "video" else function(x)

    def _prepared(self, x: Tensor) -> Tensor:
        x = x * self.rescale[0][:, None, None] + self.rescale[1][:, None, None]
        down, right = (-side % patch for side, patch in zip(x.shape[-2:], self.patch, strict=True))
        return F.pad(x, (0, right, 0, down)) if down or right else x

    def _pooled(self, features: Tensor) -> Tensor:
        pooled: Tensor = self.model.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled


def image_shape(request: Request, encoder: str) -> tuple[int, int, int]:
    """(channels, height, width) of the picture a two-dimensional network sees; flow has 2 x frames channels."""
    request.need(encoder, _KINDS)
    if request.kind in ("video", "flow"):
        request.need_rank(encoder, 4, "(frames, channels, height, width)")
        frames, channels, height, width = request.input_shape
        return (2 * frames if request.kind == "flow" else channels), height, width
    request.need_rank(encoder, 3, "(channels, height, width), for audio a spectrogram (1, bins, frames)")
    channels, height, width = request.input_shape
    return channels, height, width


def timm_encoder(
    request: Request, *, model: str = "resnet18", model_options: Mapping[str, JsonValue] | None = None
) -> BlockEncoder:
    """Any timm model, for images, spectrograms as one-channel images, video frames and stacked flow.

    `model_options` go to `timm.create_model`. A vision transformer is cut between its blocks, a ResNet between its
    four layers, any other model is one block. Raises `ValueError` for a model timm does not have.
    """
    shape = image_shape(request, "timm")
    created, patch = create_model(model, shape, dict(model_options or {}), request)
    split_attention(created)
    return BlockEncoder(TimmNetwork(created, request.kind, patch, rescaling(created, shape[0], request)))


def resnet18(request: Request, *, init: Literal["kaiming", "timm"] = "kaiming", dropout: float = 0.0) -> BlockEncoder:
    """ResNet-18 whose stem has as many channels as the input: one for a spectrogram, three for pictures.

    `init="kaiming"` draws convolutions from He's normal distribution (fan out) and sets every batch norm to one, as
    the audio-visual literature trains it from random weights; `"timm"` leaves timm's own, whose last batch norm of a
    block begins at zero. With pretrained weights `init` is not used. 11.18 M parameters with a classifier of 6.
    """
    shape = image_shape(request, "resnet18")
    created, patch = create_model("resnet18", shape, {"drop_rate": dropout}, request)
    if init == "kaiming" and not request.pretrained:
        created.apply(_kaiming)
    return BlockEncoder(TimmNetwork(created, request.kind, patch, rescaling(created, shape[0], request)))


def _kaiming(module: Any) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm2d):
        torch.nn.init.ones_(module.weight)
        torch.nn.init.zeros_(module.bias)
