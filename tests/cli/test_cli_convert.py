"""`awase convert`: word vectors to a vocabulary, and checkpoints that are refused."""

import json
from pathlib import Path

import torch
from calls import assert_refused, call

from awase.encoders.word_vocabulary import open_vocabulary


def test_words_of_texts(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("3 2\nsalt 1 2\nSalt 3 4\nbig 5 6\n")
    (tmp_path / "a.txt").write_text("Add salt,\n")
    (tmp_path / "b.csv").write_text("id,caption\n1,more Salt\n")
    texts = ["--texts", tmp_path / "a.txt", "--texts", tmp_path / "b.csv"]
    result = call("convert", "words", tmp_path / "v.txt", "--out", tmp_path / "words", *texts, "--json")
    assert (result.code, result.err) == (0, "")
    facts = json.loads(result.out)
    assert (facts["in_source"], facts["kept"], facts["asked"], facts["dim"]) == (3, 2, 7, 2)
    assert open_vocabulary(tmp_path / "words").words == ("Salt", "salt")
    everything = call("convert", "words", tmp_path / "v.txt", "--out", tmp_path / "all", "--dtype", "float16")
    assert "3 words of 3; 2 numbers each" in everything.out
    assert_refused(call("convert", "words", tmp_path / "v.txt", "--out", tmp_path / "all"), "already", code=2)


def test_a_checkpoint_that_is_none(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "e1.pth")
    out, words = tmp_path / "out", ("--words", tmp_path / "words")
    assert_refused(call("convert", "mcn", tmp_path / "e1.pth", "--out", out, *words), "--allow-pickle", code=2)
    given = ("convert", "mcn", tmp_path / "e1.pth", "--out", out, *words, "--allow-pickle")
    assert_refused(call(*given), "no MCN checkpoint")
    assert_refused(call("convert", "mcn", tmp_path / "e2.pth", "--out", out, *words), "No weights at")
    assert not out.exists()
