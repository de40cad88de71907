"""Tables that are made once."""

from pathlib import Path

import pytest
from calls import reading_rows, write_jsonl
from clips import write_clips


@pytest.fixture
def readings(tmp_path: Path) -> Path:
    """A table of 13 training, 5 validation and 7 test rows of numbers and words."""
    return write_jsonl(tmp_path / "readings.jsonl", reading_rows())


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clips.csv` of 21 clips; tests that change files work on copies."""
    return write_clips(tmp_path_factory.mktemp("clips"))
