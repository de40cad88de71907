"""Vocabularies from files of word vectors, word2vec's binary form and the text form, without loading them whole."""

import gzip
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from awase.encoders.word_vocabulary import (
    VECTORS,
    WordVocabulary,
    open_vocabulary,
    vocabulary_digest,
    write_about,
)
from awase.files import whole_folder

_PIECE = 1 << 22
_TYPES = ("float16", "float32")
Entries = Iterator[tuple[bytes, bytes]]
"""Every word and its vector, both as they stand in the file."""


def build_vocabulary(
    source: Path | str, out: Path | str, words: Iterable[str] | None = None, *, dtype: str = "float32"
) -> WordVocabulary:
    """The vocabulary folder `out`, of those words of `source` that are among `words` (None: all of them).

    `source` is a word2vec file: binary (`.bin`: a line of the number of words and dimensions, then each word, a space
    and little-endian float32), or text (a word and its numbers per line, with or without that first line); `.gz` may
    follow. It is read twice, piece by piece: once for the words, once for the vectors, which go straight to their
    sorted places on disk. Of a word that occurs twice the first vector counts. `dtype` is float32 or float16 (half the
    size, relative error below 0.0005). What was found is in `about` of the result: `in_source`, `kept`, `asked`.

    Raises `FileNotFoundError`, `FileExistsError` for `out`, and `ValueError` for a file that is cut off or is neither
    form, and where none of the words is found.
    """
    path, asked = Path(source).expanduser(), None if words is None else set(words)
    if dtype not in _TYPES:
        raise ValueError(f"Vectors are kept in {' or '.join(_TYPES)}, not {dtype!r}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of word vectors at {path}.")
    with _entries(path) as (dim, _, entries):
        names = [_decoded(word) for word, _ in entries]
    kept = sorted(set(names) if asked is None else asked.intersection(names))
    if not kept:
        raise ValueError(f"None of the {len(asked or ())} words asked for is among the {len(names)} of {path}.")
    rows = {word: row for row, word in enumerate(kept, start=1)}
    with whole_folder(Path(out).expanduser()) as folder:
        shape = (len(kept) + 1, dim)
        vectors = np.lib.format.open_memmap(folder / VECTORS, mode="w+", dtype=np.dtype(dtype), shape=shape)
        with _entries(path) as (_, parse, entries):
            for word, vector in entries:
                row = rows.pop(_decoded(word), None)
                if row is not None:
                    vectors[row] = parse(vector)
        vectors.flush()
        about = {"source": path.name, "in_source": len(names), "kept": len(kept)}
        about |= {"asked": None if asked is None else len(asked), "digest": vocabulary_digest(kept, vectors)}
        write_about(folder, kept, about)
    return open_vocabulary(out)


def _decoded(word: bytes) -> str:
    """As text; what is no UTF-8 is replaced, and so are line breaks, which no word of a text has."""
    return word.decode("utf-8", errors="replace").replace("\n", " ").replace("\r", " ")


@contextmanager
def _entries(path: Path) -> Iterator[tuple[int, Callable[[bytes], NDArray[np.float32]], Entries]]:
    """The number of dimensions, what reads a vector, and the entries of the file, in one pass."""
    binary = ".bin" in path.suffixes[-2:]
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        first = file.readline()
        parts = first.split()
        header = len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit()
        dim = int(parts[1]) if header else len(parts) - 1
        if (binary and not header) or dim < 1:
            raise ValueError(
                f"{path} holds no word vectors: a word2vec file begins with its numbers of words and dimensions, one "
                "in text form may begin with a word and its numbers."
            )
        if binary:
            yield dim, lambda vector: np.frombuffer(vector, dtype="<f4"), _binary(file, path, int(parts[0]), dim)
        else:
            lines = file if header else itertools.chain([first], file)
            yield dim, lambda vector: np.array(vector.split(), dtype=np.float32), _text(lines, path, dim)


def _binary(file: io.BufferedIOBase, path: Path, number: int, dim: int) -> Entries:
    buffer, at = b"", 0
    for index in range(number):
        space = buffer.find(b" ", at)
        while space < 0 or len(buffer) < space + 1 + 4 * dim:
            piece = file.read(_PIECE)
            if not piece:
                raise ValueError(f"{path} ends after {index} of {number} words; fetch it again.")
            buffer, at = buffer[at:] + piece, 0
            space = buffer.find(b" ")
        end = space + 1 + 4 * dim
        yield buffer[at:space].lstrip(b"\n"), buffer[space + 1 : end]
        at = end


def _text(lines: Iterable[bytes], path: Path, dim: int) -> Entries:
    for number, line in enumerate(lines, start=1):
        word, *numbers = line.rstrip().rsplit(b" ", dim)
        if len(numbers) != dim:
            raise ValueError(f"Word {number} of {path} has {len(numbers)} numbers; the others have {dim}.")
        yield word, b" ".join(numbers)
