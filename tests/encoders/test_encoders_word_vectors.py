"""Vocabularies from files of word vectors, their tokenizer, and the maximum over the words of a sentence."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awase.config import EncoderConfig
from awase.encoders import BlockEncoder, build_encoder, build_tokenizer
from awase.encoders import word2vec as module
from awase.encoders.word2vec import build_vocabulary
from awase.encoders.word_vectors import SentenceMaxPool, word_vectors
from awase.encoders.word_vocabulary import (
    VocabularyTokenizer,
    WordVocabulary,
    open_vocabulary,
    random_vocabulary,
    vocabulary_digest,
)
from awase.types import Tokenizer

WORDS = ["the", "Salt", "salt", "don't", "käse", "in", "New_York"]
VECTORS = np.random.default_rng(1).standard_normal((7, 5)).astype(np.float32)
VECTORS[1, 2] = np.frombuffer(b" \n  ", dtype="<f4")[0]  # bytes that look like what separates words


def binary(path: Path, breaks: bool) -> Path:
    """A word2vec file; the original program writes a line break after every vector, others do not."""
    body = b"".join(
        word.encode() + b" " + row.tobytes() + (b"\n" if breaks else b"")
        for word, row in zip(WORDS, VECTORS, strict=True)
    )
    data = f"{len(WORDS)} {VECTORS.shape[1]}\n".encode() + body
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def text(path: Path, header: bool) -> Path:
    lines = [f"{len(WORDS)} {VECTORS.shape[1]}"] if header else []
    lines += [
        f"{word} {' '.join(repr(float(v)) for v in row)}{' ' * header}"
        for word, row in zip(WORDS, VECTORS, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["binary", "binary with breaks", "binary.gz", "text", "text without header"])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_vectors_come_from_every_form(form: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    if form.startswith("binary"):
        source = binary(tmp_path / ("v.bin.gz" if form.endswith("gz") else "v.bin"), "breaks" in form)
    else:
        source = text(tmp_path / "v.txt", "without" not in form)
    vocabulary = build_vocabulary(source, tmp_path / "out")
    assert vocabulary.words == tuple(sorted(WORDS))
    assert not vocabulary.vectors[0].any()
    for word, vector in zip(WORDS, VECTORS, strict=True):
        assert np.array_equal(vocabulary.vectors[vocabulary.words.index(word) + 1], vector)
    assert vocabulary.digest == vocabulary_digest(vocabulary.words, vocabulary.vectors)
    assert (vocabulary.about["in_source"], vocabulary.about["kept"], vocabulary.about["asked"]) == (7, 7, None)


def test_only_words_of_the_corpus_are_kept_and_the_first_of_two(tmp_path: Path) -> None:
    source = tmp_path / "v.txt"
    source.write_text("b 1 2\nc 3 4\nb 5 6\na 7 8\n")
    vocabulary = build_vocabulary(source, tmp_path / "out", iter(["b", "a", "b", "unseen"]), dtype="float16")
    assert vocabulary.words == ("a", "b")
    assert vocabulary.vectors.tolist() == [[0, 0], [7, 8], [1, 2]]
    assert (vocabulary.vectors.dtype, vocabulary.about["asked"]) == (np.float16, 3)
    assert isinstance(vocabulary.vectors, np.memmap)


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (b"2 3\na " + bytes(12) + b"b " + bytes(11), None, "ends after 1 of 2 words"),
        (b"hello\n", None, "holds no word vectors"),
        (b"1 3\na " + bytes(12), ["b"], "None of the 1 words"),
    ],
)
def test_files_that_cannot_be_read_leave_nothing(
    content: bytes, words: list[str] | None, message: str, tmp_path: Path
) -> None:
    (tmp_path / "v.bin").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        build_vocabulary(tmp_path / "v.bin", tmp_path / "out", words)
    assert [path.name for path in tmp_path.iterdir()] == ["v.bin"]


def test_a_line_of_another_length_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("a 1 2\nb 3\n")
    with pytest.raises(ValueError, match=r"Word 2 of .* has 1 numbers; the others have 2"):
        build_vocabulary(tmp_path / "v.txt", tmp_path / "out")


def vocabulary() -> WordVocabulary:
    return random_vocabulary(WORDS, 5, seed=3)


def test_the_first_known_words_are_taken_as_they_are_written() -> None:
    tokenizer = VocabularyTokenizer(vocabulary(), max_words=4)
    assert isinstance(tokenizer, Tokenizer)
    row = {word: k for k, word in enumerate(sorted(WORDS), start=1)}
    texts = ["The SALT", "don't (salt) unknown, Salt\nin the", "", "käse New_York"]
    found = tokenizer(texts)
    expected = [[], [row["don't"], row["salt"], row["Salt"], row["in"]], [], [row["käse"], row["New_York"]]]
    for ids, mask, words in zip(found["input_ids"], found["attention_mask"], expected, strict=True):
        assert ids.tolist() == words + [0] * (4 - len(words))
        assert mask.tolist() == [1] * len(words) + [0] * (4 - len(words))
    assert [tokenizer.known_words(t) for t in texts] == [0, 5, 0, 2]


def test_the_fingerprint_is_of_words_and_width_alone() -> None:
    prints = {
        VocabularyTokenizer(random_vocabulary(words, 5, seed), width).fingerprint
        for words, seed, width in ((WORDS, 1, 4), (WORDS, 2, 4), (WORDS[1:], 1, 4), (WORDS, 1, 3))
    }
    assert len(prints) == 3
    assert vocabulary().digest != random_vocabulary(WORDS, 5, seed=4).digest


def slow_pool(pool: SentenceMaxPool, rows: list[list[int]], table: Tensor, width: int) -> Tensor:
    """A loop over sentences and words, with the layer's formula."""
    pooled = []
    for ids in rows:
        words = ids + [0] * (width - len(ids)) if pool.padding == "included" else ids
        each = [F.relu(pool.fc.weight @ table[word] + pool.fc.bias) for word in words]
        pooled.append(torch.stack(each).amax(0) if each else torch.zeros_like(pool.fc.bias))
    return torch.stack(pooled)


@pytest.mark.parametrize("padding", ["included", "masked"])
def test_the_pool_is_the_maximum_over_words(padding: str) -> None:
    """With repeated words, a full row, and rows without a word; outputs and gradients."""
    torch.manual_seed(1)
    pool = SentenceMaxPool(5, 13, padding).double()
    table = torch.randn(8, 5, dtype=torch.float64)
    table[0] = 0
    rows = [[3, 3, 1], [], [7, 6, 5, 4], [2], [3, 7]]
    ids = torch.tensor([row + [0] * (4 - len(row)) for row in rows])
    weight = torch.randn(5, 13, dtype=torch.float64)
    fast, slow = pool(ids, table), slow_pool(pool, rows, table, 4)
    torch.testing.assert_close(fast, slow)
    gradients = [torch.autograd.grad((y * weight).sum(), [pool.fc.weight, pool.fc.bias]) for y in (fast, slow)]
    torch.testing.assert_close(*gradients)


def test_every_row_empty() -> None:
    for padding in ("included", "masked"):
        pool = SentenceMaxPool(5, 3, padding)
        pooled = pool(torch.zeros(2, 4, dtype=torch.long), torch.zeros(8, 5))
        assert torch.equal(pooled, (F.relu(pool.fc.bias) if padding == "included" else torch.zeros(3)).expand(2, 3))
        pooled.sum().backward()
        assert pool.fc.weight.grad.count_nonzero() == 0


def make(folder: Path, seed: int = 0, **options: Any) -> BlockEncoder:
    config = EncoderConfig(name="word_vectors", options={"vocabulary": str(folder), "dim": 11, **options})
    encoder = build_encoder(config, kind="text", input_shape=(4,), seed=seed)
    assert isinstance(encoder, BlockEncoder)
    return encoder


def test_the_encoder_reads_what_its_tokenizer_writes(tmp_path: Path) -> None:
    words = vocabulary()
    words.save(tmp_path / "words")
    encoder = make(tmp_path / "words")
    tokenizer = build_tokenizer(
        EncoderConfig(name="word_vectors", options={"vocabulary": str(tmp_path / "words"), "dim": 11}), 4
    )
    texts = ["salt in the käse", "salt", "nothing"]
    inputs = {name: torch.from_numpy(value) for name, value in tokenizer(texts).items()}
    rows = [words.ids(t) for t in texts]
    table = torch.from_numpy(words.vectors)
    pool = encoder.network.pool
    torch.testing.assert_close(encoder(inputs).pooled, slow_pool(pool, rows, table, 4))
    masked_out = {**inputs, "attention_mask": torch.zeros_like(inputs["attention_mask"])}
    torch.testing.assert_close(encoder(masked_out).pooled, F.relu(pool.fc.bias).expand(3, 11))


def test_the_table_is_frozen_in_no_checkpoint_and_known_by_its_digest(tmp_path: Path) -> None:
    vocabulary().save(tmp_path / "words")
    random_vocabulary(WORDS, 5, seed=4).save(tmp_path / "others")
    encoder, other = make(tmp_path / "words"), make(tmp_path / "others")
    assert [name for name, _ in encoder.named_parameters()] == ["network.pool.fc.weight", "network.pool.fc.bias"]
    state = encoder.state_dict()
    assert set(state) == {"network.vocabulary_digest", "network.pool.fc.weight", "network.pool.fc.bias"}
    assert not torch.equal(state["network.vocabulary_digest"], other.state_dict()["network.vocabulary_digest"])
    make(tmp_path / "words", seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="name the vocabulary they were trained with"):
        other.load_state_dict(state)


def test_half_precision_tables_give_full_precision_encodings(tmp_path: Path) -> None:
    source = text(tmp_path / "v.txt", True)
    build_vocabulary(source, tmp_path / "words", dtype="float16")
    encoder = make(tmp_path / "words")
    inputs = {"input_ids": torch.tensor([[1, 2, 0, 0]]), "attention_mask": torch.tensor([[1, 1, 0, 0]])}
    assert encoder(inputs).pooled.dtype == torch.float32


def test_without_a_vocabulary_it_is_said_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="awase convert words"):
        build_encoder(EncoderConfig(name="word_vectors"), kind="text", input_shape=(4,), seed=0)
    with pytest.raises(ValueError, match="awase convert words"):
        build_tokenizer(EncoderConfig(name="word_vectors"), 4)
    with pytest.raises(FileNotFoundError, match="awase convert words"):
        open_vocabulary(tmp_path)
    vocabulary().save(tmp_path / "words")
    with pytest.raises(ValueError, match="'included' or 'masked'"):
        make(tmp_path / "words", padding="zero")
    about = json.loads((tmp_path / "words/vocabulary.json").read_text())
    (tmp_path / "words/vocabulary.json").write_text(json.dumps(about | {"format": 2}))
    with pytest.raises(ValueError, match="format 2; this version reads 1"):
        open_vocabulary(tmp_path / "words")


def test_the_published_size(tmp_path: Path) -> None:
    """With the gated unit of 4096 after it: 34.80 M parameters; 77.36 M at 6144."""
    from awase.encoders.projections import build_projection
    from awase.encoders.request import Request

    random_vocabulary(["one"], 300, seed=0).save(tmp_path / "words")
    for dim, expected in ((4096, 34.80), (6144, 77.36)):
        with torch.device("meta"):
            parts = [word_vectors(Request("text", (20,)), vocabulary=str(tmp_path / "words"), dim=dim)]
            modules: list[nn.Module] = [*parts, build_projection("gated", dim, dim)]
        assert round(sum(p.numel() for m in modules for p in m.parameters()) / 1e6, 2) == expected
