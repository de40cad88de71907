"""Where `word_vectors` finds its words in the tests that sweep all encoders (`usefixtures("vocabulary")`)."""

from pathlib import Path

import pytest

from awase.encoders.word_vocabulary import random_vocabulary

VOCABULARY = "vocabulary of this test"


@pytest.fixture
def vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_vocabulary([f"word {k}" for k in range(30)], 5, seed=2).save(tmp_path / VOCABULARY)
    monkeypatch.chdir(tmp_path)
