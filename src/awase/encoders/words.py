"""A tokenizer that needs no vocabulary file: words of any script, hashed into a table of fixed size."""

import hashlib
import unicodedata
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

VOCABULARY_SIZE = 4096
PAD, EMPTY, RESERVED = 0, 1, 2
# Scripts written without spaces between words: each character (with its marks) is a token of its own.
_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0x20000, 0x323AF),  # Han, further extensions
)


def _stands_alone(character: str) -> bool:
    """Whether `character` is a token by itself: of a script without spaces, or neither letter, digit nor mark."""
    code = ord(character)
    if any(first <= code <= last for first, last in _SPACELESS):
        return True
    return unicodedata.category(character)[0] not in "LNM"


def split_words(text: str) -> Iterator[str]:
    """The words of `text`, lower-cased in Unicode form NFKC; punctuation and symbols are words of one character."""
    word = ""
    for character in unicodedata.normalize("NFKC", text).lower():
        kind = unicodedata.category(character)[0]
        if kind == "M":  # a mark belongs to what it stands on
            word += character
        elif kind in "ZC" or _stands_alone(character) or (word and _stands_alone(word[0])):
            if word:
                yield word
            word = "" if kind in "ZC" else character
        else:
            word += character
    if word:
        yield word


class WordTokenizer:
    """Texts to `input_ids` and `attention_mask`, both (texts, max_tokens) int64.

    Id 0 fills up, id 1 is the single token of an empty text, every other word is 2 + crc32(word) mod (size - 2): two
    words may share an id. Longer texts are cut. Raises `ValueError` for a table of fewer than 3 ids.
    """

    def __init__(self, vocabulary_size: int, max_tokens: int) -> None:
        if vocabulary_size <= RESERVED:
            raise ValueError(f"A word table needs at least {RESERVED + 1} ids; got {vocabulary_size}.")
        self.vocabulary_size = vocabulary_size
        self.max_tokens = max_tokens

    @property
    def fingerprint(self) -> str:
        """A digest of everything the ids depend on."""
        text = f"words v1 crc32 {self.vocabulary_size} {self.max_tokens} unicode {unicodedata.unidata_version}"
        return hashlib.sha256(text.encode()).hexdigest()

    def __call__(self, texts: list[str]) -> dict[str, NDArray[np.int64]]:
        """The ids and the mask of `texts`; every row has at least one token."""
        ids = np.full((len(texts), self.max_tokens), PAD, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(texts):
            found = self._ids(text)
            ids[row, : len(found)] = found
            mask[row, : len(found)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def _ids(self, text: str) -> list[int]:
        size = self.vocabulary_size - RESERVED
        words = [RESERVED + zlib.crc32(word.encode()) % size for word in split_words(text)]
        return (words or [EMPTY])[: self.max_tokens]
