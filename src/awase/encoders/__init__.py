"""One modality in, `Encoded` out. timm and transformers are imported when one of their models is built."""

from awase.encoders.blocks import BlockEncoder
from awase.encoders.build import ENCODERS, build_encoder, default_encoder
from awase.encoders.info import encoder_info
from awase.encoders.projections import build_projection, reconstruction_head
from awase.encoders.split_attention import split_attention
from awase.encoders.tokens import build_tokenizer
from awase.encoders.word_vectors import addressed

__all__ = [
    "ENCODERS",
    "BlockEncoder",
    "addressed",
    "build_encoder",
    "build_projection",
    "build_tokenizer",
    "default_encoder",
    "encoder_info",
    "reconstruction_head",
    "split_attention",
]
