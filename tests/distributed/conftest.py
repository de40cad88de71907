"""Two real processes, started once for all tests of this folder."""

from pathlib import Path

import pytest
from process_pair import run_two


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> Path:
    """The folder with what both processes found."""
    return run_two(Path(__file__).parent / "two_processes.py", tmp_path_factory.mktemp("world"))
