"""Several texts per row: all of them in training, the first everywhere else."""

import numpy as np
import pytest
import torch
from small_set import Words

from awase.config import TextInput
from awase.data.collate import Content, assemble
from awase.data.columns import Draw, TextColumn

TEXTS = (("ab", "c"), (), ("d",), ("e", "fg", "h"))
ROWS = np.array([3, 1, 0, 2])
TRAINING, MEASURING = Draw(seed=0, epoch=2), Draw(seed=0, epoch=None)


@pytest.fixture
def column() -> TextColumn:
    return TextColumn("text", TextInput(column="text", max_tokens=5), TEXTS, Words())


def slow_tokens(text: str) -> list[int]:
    return [ord(letter) for letter in text] + [0] * (5 - len(text))


def test_training_has_all_of_them_and_a_mask(column: TextColumn) -> None:
    found, mask = column.tensor(ROWS, TRAINING), column.candidates(ROWS, TRAINING)
    assert found["input_ids"].tolist() == [
        [slow_tokens(text) for text in (*TEXTS[row], "", "", "")[:3]] for row in ROWS.tolist()
    ]
    assert mask.tolist() == [[number < len(TEXTS[row]) for number in range(3)] for row in ROWS.tolist()]
    assert found["attention_mask"].shape == (4, 3, 5)


def test_everything_else_has_the_first(column: TextColumn) -> None:
    found = column.tensor(ROWS, MEASURING)
    assert column.candidates(ROWS, MEASURING) is None
    assert found["input_ids"].tolist() == [slow_tokens((*TEXTS[row], "")[0]) for row in ROWS.tolist()]
    assert column.texts == ["ab", "", "d", "e"]
    assert column.present.tolist() == [True, False, True, True]
    assert column.shape == (5,)


def test_what_an_absent_row_holds_is_zero(column: TextColumn) -> None:
    column.tokens["input_ids"][1] = 7
    column.tokens["input_ids"][2, 1:] = 7
    assert not column.tensor(np.array([1]), MEASURING)["input_ids"].any()
    training = column.tensor(np.array([1, 2]), TRAINING)["input_ids"]
    assert not training[0].any()
    assert training[1].tolist() == [slow_tokens("d"), slow_tokens(""), slow_tokens("")]


def test_one_text_per_row_is_as_ever() -> None:
    words = Words()
    column = TextColumn("text", TextInput(column="text", max_tokens=5), [("ab",), (), ("c",)], words)
    for draw in (TRAINING, MEASURING):
        found = column.tensor(np.arange(3), draw)
        assert found["input_ids"].tolist() == [slow_tokens("ab"), slow_tokens(""), slow_tokens("c")]
        assert column.candidates(np.arange(3), draw) is None
    assert words.calls == 1


def test_a_batch_of_training_says_which_are_real(column: TextColumn) -> None:
    content = Content(tuple("abcd"), np.full(4, -1), 0, {"text": column})
    batch = assemble(content, ROWS, TRAINING)
    assert torch.equal(batch.candidates["text"], column.candidates(ROWS, TRAINING))
    assert batch.present["text"].tolist() == [True, False, True, True]
    assert assemble(content, ROWS, MEASURING).candidates == {}
    without = Content(tuple("abcd"), np.full(4, -1), 0, {"text": column}, frozenset())
    assert assemble(without, ROWS, TRAINING).candidates == {}
