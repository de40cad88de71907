"""The encoders of a fusion inside the encoders, as blocks over tokens."""

from collections.abc import Mapping

from torch import nn

from awase.types import TokenBlocks

ABLE = (
    "small_vit, small_transformer, timm with a vision transformer, or transformers with BERT and its relatives, "
    "wav2vec 2.0, HuBERT or the audio spectrogram transformer"
)


def token_streams(fusion: str, encoders: Mapping[str, nn.Module]) -> dict[str, TokenBlocks]:
    """Each encoder as blocks over tokens; raises `ValueError` for one that is none, naming those that are."""
    return {name: token_stream(fusion, name, encoder) for name, encoder in encoders.items()}


def token_stream(fusion: str, name: str, encoder: nn.Module) -> TokenBlocks:
    """One encoder as blocks over tokens."""
    blocks = getattr(encoder, "token_blocks", None)
    if not isinstance(blocks, TokenBlocks):
        raise ValueError(
            f"The fusion {fusion!r} joins tokens between the blocks of the encoders, and what passes between those of "
            f"{name!r} is no sequence of tokens. Encoders that can: {ABLE}."
        )
    return blocks
