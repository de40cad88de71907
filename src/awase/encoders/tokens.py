"""The tokenizer that belongs to a text encoder."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awase.config import EncoderConfig
from awase.encoders.hub import cache_only_when_offline, is_local
from awase.encoders.word_vectors import vocabulary_folder
from awase.encoders.word_vocabulary import VocabularyTokenizer, open_vocabulary
from awase.encoders.words import VOCABULARY_SIZE, WordTokenizer
from awase.types import Tokenizer


class PretrainedTokenizer:
    """A transformers tokenizer at a fixed width; an empty text keeps the special tokens alone."""

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens

    @property
    def fingerprint(self) -> str:
        """A digest of the vocabulary, the rules and the width."""
        rules = getattr(self._tokenizer, "backend_tokenizer", None)
        text = rules.to_str() if rules is not None else json.dumps(sorted(self._tokenizer.get_vocab().items()))
        return hashlib.sha256(f"{self._max_tokens}\n{text}".encode()).hexdigest()

    def __call__(self, texts: list[str]) -> dict[str, NDArray[np.int64]]:
        """`input_ids` and `attention_mask`, both (texts, max_tokens); longer texts are cut."""
        found = self._tokenizer(texts, padding="max_length", truncation=True, max_length=self._max_tokens)
        return {name: np.asarray(found[name], dtype=np.int64) for name in ("input_ids", "attention_mask")}


def build_tokenizer(config: EncoderConfig, max_tokens: int) -> Tokenizer:
    """The tokenizer of the text encoder that `config` names, at a width of `max_tokens`.

    `transformers` uses the one of its folder or Hub name; built from an architecture alone it gets hashed words, as
    `small_transformer` does; `word_vectors` takes the words of its vocabulary. A callable of the user's own may bring
    `build_tokenizer(max_tokens)` as an attribute.
    Raises `ValueError` for an encoder that reads no text, `FileNotFoundError` where the files cannot be had.
    """
    if not isinstance(config.name, str):
        own = getattr(config.name, "build_tokenizer", None)
        return own(max_tokens) if own is not None else WordTokenizer(VOCABULARY_SIZE, max_tokens)
    if config.name == "small_transformer":
        return WordTokenizer(_size(config.options.get("vocabulary_size", VOCABULARY_SIZE)), max_tokens)
    if config.name == "word_vectors":
        vocabulary = open_vocabulary(vocabulary_folder(config.options.get("vocabulary")))
        return VocabularyTokenizer(vocabulary, max_tokens)
    if config.name != "transformers":
        names = "'small_transformer', 'word_vectors' or 'transformers'"
        raise ValueError(f"The encoder {config.name!r} reads no text; use {names}.")
    source = config.pretrained if isinstance(config.pretrained, str) else config.options.get("model")
    if isinstance(source, str):
        return PretrainedTokenizer(_load(source), max_tokens)
    return WordTokenizer(_vocabulary_of(config), max_tokens)


def _size(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(f"vocabulary_size is a whole number; got {value!r}.")
    return value


def _vocabulary_of(config: EncoderConfig) -> int:
    """The number of ids of an architecture that is built from its configuration alone."""
    from transformers import AutoConfig

    changes = config.options.get("config") or {}
    assert isinstance(changes, dict)
    return _size(AutoConfig.for_model(str(config.options.get("architecture")), **changes).vocab_size)


def _load(source: str) -> Any:
    from transformers import AutoTokenizer

    if is_local(source):
        return AutoTokenizer.from_pretrained(str(Path(source).expanduser()), local_files_only=True)
    with cache_only_when_offline() as online:
        try:
            return AutoTokenizer.from_pretrained(source, local_files_only=not online)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"The tokenizer of {source!r} is neither on this machine nor could it be fetched: pass a local folder."
            ) from error
