"""Weight averaging against its closed form."""

import pytest
import torch

from awase.training.average import WeightAverage


@pytest.mark.parametrize("decay", [0.0, 0.15, 0.5, 0.99])
def test_the_average_is_its_closed_form(decay):
    values = [torch.randn(3, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(8)]
    average = WeightAverage({"w": values[0]}, decay)
    expected = values[0].double()
    for number, value in enumerate(values[1:]):
        average.update({"w": value})
        d = min(decay, (1 + number) / (10 + number))
        expected = d * expected + (1 - d) * value
    torch.testing.assert_close(average.tensors["w"].double(), expected, rtol=1e-5, atol=1e-6)  # float32 sums
    assert average.num_updates == 7


def test_a_weight_that_stands_still_is_its_own_average():
    weight = torch.full((7,), 0.1)
    average = WeightAverage({"w": weight}, 0.9)
    for _ in range(20):
        average.update({"w": weight})
    assert torch.equal(average.tensors["w"], weight)


def test_counters_are_copied():
    average = WeightAverage({"n": torch.tensor(3)}, 0.9)
    average.update({"n": torch.tensor(8)})
    assert average.tensors["n"].dtype == torch.int64
    assert int(average.tensors["n"]) == 8


def test_what_an_objective_remembers_of_samples_is_copied():
    tensors = {"objective.memory.queue": torch.zeros(3, 5), "objective.log_temperature": torch.zeros(())}
    average = WeightAverage(tensors, 0.9)
    average.update({name: value + 1 for name, value in tensors.items()})
    assert torch.equal(average.tensors["objective.memory.queue"], torch.ones(3, 5))
    assert 0 < float(average.tensors["objective.log_temperature"]) < 1


def test_the_average_owns_its_memory_and_takes_no_gradient():
    weight = torch.nn.Parameter(torch.ones(3))
    average = WeightAverage({"w": weight}, 0.9)
    with torch.no_grad():
        weight.zero_()
    assert torch.equal(average.tensors["w"], torch.ones(3))
    assert not average.tensors["w"].requires_grad
