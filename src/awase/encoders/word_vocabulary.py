"""Words with vectors of their own (word2vec and its like) in a folder that is read by memory map, and its tokenizer."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from awase.files import whole_folder

PAD = 0
MAX_WORDS = 20
WORDS, VECTORS, ABOUT = "words.txt", "vectors.npy", "vocabulary.json"
FORMAT = 1
_WORD = re.compile(r"[\w']+")
_ROWS_AT_A_TIME = 8192


class WordVocabulary:
    """`words`, sorted, and `vectors` (words + 1, dim): word k has row k + 1, and row 0, zeros, fills up.

    `digest` is of words and vectors, `words_digest` of the words alone, on which ids depend. As a folder: `words.txt`,
    a word per line, `vectors.npy` in float16 or float32, and `vocabulary.json` about both.
    """

    def __init__(self, words: Sequence[str], vectors: NDArray[np.floating], about: Mapping[str, object]) -> None:
        if vectors.ndim != 2 or len(vectors) != len(words) + 1:
            raise ValueError(f"{len(words)} words need {len(words) + 1} rows of vectors; got shape {vectors.shape}.")
        self.words = tuple(words)
        self.vectors = vectors
        self.about = dict(about)
        self.words_digest = words_digest(self.words)
        self._ids = {word: row for row, word in enumerate(self.words, start=1)}

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return int(self.vectors.shape[1])

    @property
    def digest(self) -> str:
        """The digest that was taken when the vectors were written, as 64 hexadecimal digits."""
        return str(self.about["digest"])

    def ids(self, text: str) -> list[int]:
        """The rows of the words of `text` that are known, in their order.

        A word is a run of letters, digits, underscores and apostrophes, as it is written: upper case is another word.
        """
        return [self._ids[word] for word in split_text(text) if word in self._ids]

    def save(self, folder: Path) -> None:
        """Writes the folder whole; raises `FileExistsError` where there is something already."""
        with whole_folder(folder) as temporary:
            np.save(temporary / VECTORS, self.vectors)
            write_about(temporary, self.words, self.about)


def split_text(text: str) -> list[str]:
    """What counts as a word in HowTo100M's text: runs of `[\\w']`, with their case, stop words among them."""
    return _WORD.findall(text)


def words_digest(words: Iterable[str]) -> str:
    """A digest of words in their order."""
    digest = hashlib.sha256()
    for word in words:
        digest.update(word.encode() + b"\n")
    return digest.hexdigest()


def vocabulary_digest(words: Iterable[str], vectors: NDArray[np.floating]) -> str:
    """A digest of words, of the type of their vectors, and of every bit of these."""
    digest = hashlib.sha256(f"{words_digest(words)} {vectors.dtype} {vectors.shape}".encode())
    for start in range(0, len(vectors), _ROWS_AT_A_TIME):
        digest.update(np.ascontiguousarray(vectors[start : start + _ROWS_AT_A_TIME]).tobytes())
    return digest.hexdigest()


def write_about(folder: Path, words: Sequence[str], about: Mapping[str, object]) -> None:
    """The words and the description of a vocabulary whose vectors are in `folder` already."""
    (folder / WORDS).write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    (folder / ABOUT).write_text(json.dumps({"format": FORMAT, **about}, indent=2) + "\n", encoding="utf-8")


def open_vocabulary(folder: Path | str) -> WordVocabulary:
    """The vocabulary in `folder`; its vectors stay on disk until they are read, shared by all processes.

    Raises `FileNotFoundError` with what makes one, and `ValueError` for a folder of another format.
    """
    path = Path(folder).expanduser()
    if not (path / ABOUT).is_file():
        raise FileNotFoundError(
            f"There is no vocabulary of word vectors in {path}. Make one from a word2vec file: "
            f"awase convert words GoogleNews-vectors-negative300.bin.gz --out {path} --texts CAPTIONS.txt"
        )
    about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
    if about.get("format") != FORMAT:
        raise ValueError(f"The vocabulary in {path} has format {about.get('format')!r}; this version reads {FORMAT}.")
    words = (path / WORDS).read_text(encoding="utf-8").split("\n")[:-1]
    # Copy on write: never written to, but torch wants an array that could be.
    return WordVocabulary(words, np.load(path / VECTORS, mmap_mode="c"), about)


def random_vocabulary(words: Iterable[str], dim: int, seed: int) -> WordVocabulary:
    """Normal float32 vectors for the distinct `words`, from `seed` alone: a stand-in where no trained vectors are."""
    kept = sorted(set(words))
    vectors = np.zeros((len(kept) + 1, dim), dtype=np.float32)
    vectors[1:] = np.random.default_rng(seed).standard_normal((len(kept), dim))
    about = {"source": f"random from seed {seed}", "digest": vocabulary_digest(kept, vectors)}
    return WordVocabulary(kept, vectors, about)


class VocabularyTokenizer:
    """Texts to `input_ids` and `attention_mask`, both (texts, max_words) int64: the first known words of each.

    Unknown words are left out and take no place. The rest of a row is `PAD`. A text without a known word has a mask of
    zeros alone: it says nothing and counts as absent.
    """

    def __init__(self, vocabulary: WordVocabulary, max_words: int = MAX_WORDS) -> None:
        if max_words < 1:
            raise ValueError(f"A text needs room for at least 1 word; got max_words {max_words}.")
        self.vocabulary = vocabulary
        self.max_words = max_words

    @property
    def fingerprint(self) -> str:
        """A digest of everything the ids depend on; the vectors are not among it."""
        text = f"word vectors v1 {_WORD.pattern} {self.max_words} {self.vocabulary.words_digest} unicode "
        text += unicodedata.unidata_version
        return hashlib.sha256(text.encode()).hexdigest()

    def known_words(self, text: str) -> int:
        """How many words of `text` have a vector, those beyond the width among them; 0: it counts as absent."""
        return len(self.vocabulary.ids(text))

    def __call__(self, texts: list[str]) -> dict[str, NDArray[np.int64]]:
        """The ids and the mask of `texts`."""
        ids = np.full((len(texts), self.max_words), PAD, dtype=np.int64)
        for row, text in enumerate(texts):
            found = self.vocabulary.ids(text)[: self.max_words]
            ids[row, : len(found)] = found
        return {"input_ids": ids, "attention_mask": (ids != PAD).astype(np.int64)}
