"""Rules that change gradients: two real processes give what one gives on the joined batch."""

from pathlib import Path

import pytest
import torch
from gradient_rules import CASES, train
from process_pair import run_two
from safetensors.torch import load_file

from awase.distributed import ALONE


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """The folder with what both processes found."""
    return run_two(Path(__file__).parent / "gradient_rules.py", tmp_path_factory.mktemp("rules"))


@pytest.mark.parametrize("name", sorted(CASES))
def test_two_processes_give_what_one_gives_on_the_joined_batch(results, name):
    alone = train(name, ALONE)
    first, second = (load_file(results / f"{name}-{rank}.safetensors") for rank in range(2))
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    assert set(first) == set(alone)
    for key, value in alone.items():
        # The sums are taken in another order, and AdamW divides small gradients by their size.
        torch.testing.assert_close(first[key], value, rtol=1e-4, atol=2e-5, msg=lambda m, k=key: f"{k}: {m}")
