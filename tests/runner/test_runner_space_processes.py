"""Two processes train a joint space to the same numbers as one on the joined batches."""

from pathlib import Path

import pytest
import torch
from process_pair import run_two
from safetensors.torch import load_file
from space_processes import CASES, train

from awase.distributed import ALONE


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """The folder with what both processes found."""
    return run_two(Path(__file__).parent / "space_processes.py", tmp_path_factory.mktemp("space-world"))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_what_one_trains(results, name):
    one = train(name, ALONE)
    both = [load_file(results / f"{name}-{rank}.safetensors") for rank in range(2)]
    for key, value in both[0].items():
        if not key.startswith("losses"):
            assert torch.equal(value, both[1][key]), f"the processes differ in {key}"
    assert any(key.startswith("gradient|11|") for key in one)
    for found in both:
        assert found.keys() == one.keys()
        for key, expected in one.items():
            # Sums are split in two, and Adam divides small gradients by their size.
            torch.testing.assert_close(
                found[key], expected, rtol=2e-3, atol=2e-4, msg=lambda text, key=key: f"{key}: {text}"
            )
    first = {key: value for key, value in one.items() if key.startswith("gradient|0|")}
    for key, expected in first.items():
        torch.testing.assert_close(both[0][key], expected, rtol=1e-5, atol=1e-5)
    if name != "some keys":
        assert int(one["weights|objective.memory.counters"][4]) >= 3, "the centroids were fitted more than once"
