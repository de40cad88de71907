"""Frozen word vectors, a layer with ReLU, and the maximum over the words of a sentence."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from awase.config import EncoderConfig
from awase.encoders.blocks import BlockEncoder
from awase.encoders.request import Request
from awase.encoders.word_vocabulary import PAD, WordVocabulary, open_vocabulary
from awase.products import Linear
from awase.types import Encoded

PADDINGS = ("included", "masked")


class SentenceMaxPool(nn.Module):
    """max over the words w of a sentence of ReLU(W e_w + b), from the ids and a table of vectors e.

    With `padding="included"` a row that is not full has zeros for one more word, so that nothing is below ReLU(b);
    `"masked"` leaves them out, and a row without any word gives zeros.
    """

    def __init__(self, in_dim: int, dim: int, padding: str) -> None:
        super().__init__()
        self.fc = Linear(in_dim, dim)
        self.padding = padding

    def forward(self, ids: Int[Tensor, "batch words"], table: Float[Tensor, "rows in_dim"]) -> Tensor:
        """(batch, dim). The maximum is taken before ReLU, which changes neither it nor its gradient."""
        if torch.compiler.is_exporting():
            return self._each_by_itself(ids, table)
        rows, slots = _distinct(ids)
        projected = self.fc(table[rows].to(self.fc.weight.dtype))  # (distinct words, dim)
        ignored = 0 if self.padding == "masked" else None
        return F.relu(F.embedding_bag(slots, projected, mode="max", padding_idx=ignored))

    def _each_by_itself(self, ids: Tensor, table: Tensor) -> Tensor:
        """The same without counting words, for a graph of batches of any size; ReLU makes 0 of no word at all."""
        projected = self.fc(table[ids].to(self.fc.weight.dtype))  # (batch, words, dim)
        if self.padding == "masked":
            projected = projected.masked_fill((ids == PAD)[..., None], -torch.inf)
        return F.relu(projected.amax(dim=1))


def _distinct(ids: Int[Tensor, "batch words"]) -> tuple[Int[Tensor, " rows"], Int[Tensor, "batch words"]]:
    """Rows of the table, the padding first, and for every word which of the rows it is.

    On a CPU each word of the batch is projected once, however often it occurs; elsewhere, where to count them would
    wait for the device, every occurrence by itself.
    """
    flat = torch.cat((ids.new_full((1,), PAD), ids.flatten()))
    if ids.device.type == "cpu":
        rows, places = torch.unique(flat, return_inverse=True)  # sorted: padding, the smallest id, is the first
        return rows, places[1:].view_as(ids)
    places = torch.arange(1, len(flat), device=ids.device).view_as(ids)
    return flat, places.masked_fill(ids == PAD, 0)


class _WordVectors(nn.Module):
    """The table and one block, the pooling; ids pass between them, so that what is cached is small."""

    table: Tensor
    vocabulary_digest: Tensor

    def __init__(self, vectors: Float[Tensor, "rows in_dim"], digest: str, dim: int, padding: str) -> None:
        super().__init__()
        self.dim = dim
        # The vectors never change and lie in the vocabulary's folder: no checkpoint holds them. Their digest is part of
        # the state instead, so that what is addressed by the state knows them, and weights refuse another vocabulary.
        self.register_buffer("table", vectors, persistent=False)
        self.register_buffer("vocabulary_digest", torch.frombuffer(bytearray.fromhex(digest), dtype=torch.uint8))
        self.pool = SentenceMaxPool(vectors.shape[1], dim, padding)
        self.block_names: tuple[str, ...] = ("pool",)
        self.stem_names: tuple[str, ...] = ()
        self.register_load_state_dict_pre_hook(_check_vocabulary)

    def stem(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"ids": inputs["input_ids"] * inputs["attention_mask"].to(inputs["input_ids"].dtype)}

    def block(self, index: int, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"pooled": self.pool(hidden["ids"], self.table)}

    def head(self, hidden: Mapping[str, Tensor]) -> Encoded:
        return Encoded(hidden["pooled"])


def _check_vocabulary(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Raises `ValueError` where weights were trained on another vocabulary."""
    assert isinstance(module, _WordVectors), "the hook is registered there"
    own = module.vocabulary_digest
    given = state.get(f"{prefix}vocabulary_digest", own)
    if not torch.equal(given.cpu(), own.cpu()):
        raise ValueError(
            f"These weights belong to the word vectors {_hex(given)}..., and the vocabulary here is {_hex(own)}...: "
            "name the vocabulary they were trained with."
        )


def _hex(digest: Tensor) -> str:
    return bytes(digest.cpu().tolist()).hex()[:12]


def word_vectors(
    request: Request, *, vocabulary: str | None = None, dim: int = 4096, padding: str = "included"
) -> BlockEncoder:
    """max over words of ReLU(W e + b), with frozen vectors e: the text network of HowTo100M, AVLnet and MCN.

    `vocabulary` is a folder that `awase convert words` or `word2vec.build_vocabulary` wrote. `dim` is the width of the
    layer, published at that of the joint space. `padding="included"`, as published: the empty places of a sentence take
    part in the maximum with a vector of zeros, so that no component is below ReLU(b); `"masked"`: they do not. The
    tokenizer, `word_vocabulary.VocabularyTokenizer`, keeps the first known words of a text.

    Raises `FileNotFoundError` where there is no vocabulary, `ValueError` where none is named.
    """
    request.need("word_vectors", ("text",))
    request.need_rank("word_vectors", 1, "(max_tokens,)")
    if padding not in PADDINGS:
        raise ValueError(f"The padding of 'word_vectors' is 'included' or 'masked', not {padding!r}.")
    found = open_vocabulary(vocabulary_folder(vocabulary))
    return BlockEncoder(_WordVectors(_table(found), found.digest, dim, padding))


def addressed(config: EncoderConfig) -> EncoderConfig:
    """The configuration with a vocabulary's digest in place of its folder: what an encoder is, wherever its files lie.

    Any encoder but `word_vectors` is as it was. Raises as `open_vocabulary`.
    """
    if config.name != "word_vectors":
        return config
    content = open_vocabulary(vocabulary_folder(config.options.get("vocabulary"))).digest
    return config.model_copy(update={"options": {**config.options, "vocabulary": content}})


def vocabulary_folder(vocabulary: object) -> str:
    """The option `vocabulary`; raises `ValueError` that says what to name where it is missing."""
    if not isinstance(vocabulary, str):
        raise ValueError(
            "The encoder 'word_vectors' needs the option vocabulary, a folder of word vectors. Make one from a "
            "word2vec file: awase convert words GoogleNews-vectors-negative300.bin.gz --out words --texts CAPTIONS.txt"
        )
    return vocabulary


def _table(vocabulary: WordVocabulary) -> Tensor:
    return torch.from_numpy(np.asarray(vocabulary.vectors))
