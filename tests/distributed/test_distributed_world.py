"""Two real processes give the loss, the gradients and the weights of one process on the joined batch."""

import pytest
import torch
from safetensors.torch import load_file
from two_processes import CASES, train

from awase.distributed import ALONE, World, current_world, joined_world


def test_sums_are_over_both_processes(results):
    found = [load_file(results / f"sums-{rank}.safetensors") for rank in range(2)]
    expected = {
        "sum0": torch.full((2, 3), 3.0),
        "sum1": torch.tensor(30.0, dtype=torch.float64),
        "sum2": torch.tensor([0.0, 6.0, 12.0]),
        "sum3": torch.full((3,), 2.0),
    }
    for name, value in expected.items():
        assert torch.equal(found[0][name], value)
        assert torch.equal(found[1][name], value)


@pytest.mark.parametrize("name", sorted(CASES))
def test_two_processes_give_what_one_gives_on_the_joined_batch(results, name):
    alone = train(name, ALONE)
    for rank in range(2):
        found = load_file(results / f"{name}-{rank}.safetensors")
        assert set(found) == set(alone)
        for key in sorted(alone):
            # The sums are taken in another order, and AdamW divides small gradients by their size.
            torch.testing.assert_close(found[key], alone[key], rtol=1e-4, atol=2e-5, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.parametrize("name", sorted(CASES))
def test_both_processes_have_the_same_bits(results, name):
    first, second = (load_file(results / f"{name}-{rank}.safetensors") for rank in range(2))
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_the_cases_reach_parameters_on_one_process_only(results):
    found = load_file(results / "absent-on-one-0.safetensors")
    names = {key.split("|")[2] for key in found if key.startswith("gradient|")}
    steps = {key.split("|")[1] for key in found if key.startswith("gradient|")}
    sometimes = {name for name in names if not all(f"gradient|{step}|{name}" in found for step in steps)}
    assert "fusion.absent.audio" in names | sometimes
    assert "encoders.audio.layer.base.weight" in sometimes


def test_alone_everything_is_the_identity():
    assert current_world() == ALONE == World(0, 1)
    assert ALONE.is_first
    assert not World(1, 2).is_first
    tensor = torch.randn(3, dtype=torch.float64)
    before = tensor.clone()
    ALONE.sum_([tensor])
    ALONE.barrier()
    assert torch.equal(tensor, before)


def test_without_torchrun_nobody_is_joined(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_world("gloo") as world:
        assert world == ALONE
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined_world("gloo") as world:
        assert world == ALONE
