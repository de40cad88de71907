"""Learning rates as closed forms, groups, and the state that a checkpoint carries."""

import math

import pytest
import torch
from torch import nn

from awase.config import TrainConfig
from awase.training.optimisers import (
    build_optimiser,
    load_optimiser_tensors,
    optimiser_tensors,
    rate_factor,
    set_rate,
)


def factors(steps_per_epoch: int, **changes) -> list[float]:
    config = TrainConfig(**changes)
    return [rate_factor(step, steps_per_epoch, config) for step in range(config.epochs * steps_per_epoch)]


def test_constant_is_constant():
    assert factors(7, epochs=3, schedule="constant") == [1.0] * 21


def test_cosine_is_its_closed_form():
    expected = [0.5 * (1 + math.cos(math.pi * step / 21)) for step in range(21)]
    assert factors(7, epochs=3, schedule="cosine") == pytest.approx(expected, abs=1e-15)
    assert expected[0] == 1.0
    assert expected[-1] > 0


def test_steps_come_after_whole_epochs():
    expected = [0.5 ** (step // 5 // 2) for step in range(35)]
    assert factors(5, epochs=7, schedule="step", step_epochs=2, step_factor=0.5) == expected


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_is_linear_and_the_schedule_follows(schedule):
    found = factors(5, epochs=4, schedule=schedule, warmup_epochs=2)
    assert found[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    after = [0.5 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]
    assert found[10:] == pytest.approx(after if schedule == "cosine" else [1.0] * 10)


@pytest.mark.parametrize("warmup_epochs", [0.01, 0.1, 0.5, 0.3, 1.7])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_fractions_of_a_step_never_exceed_the_rate(schedule, warmup_epochs):
    found = factors(5, epochs=3, schedule=schedule, warmup_epochs=warmup_epochs)
    assert max(found) <= 1.0
    assert min(found) > 0.0
    assert found[: int(warmup_epochs * 5)] == sorted(found[: int(warmup_epochs * 5)])


def test_a_run_that_only_warms_up_ends_at_the_rate():
    assert factors(3, epochs=2, warmup_epochs=2) == pytest.approx([step / 6 for step in range(1, 7)])


def some_parameters() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "encoder.weight": (5, 3),
        "encoder.bias": (5,),
        "encoder.scale": (),
        "heads.weight": (2, 5),
        "heads.b": (2,),
    }
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}


HEADS = frozenset({"heads.weight", "heads.b"})


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_vectors_do_not_decay_and_heads_have_their_rate(optimiser):
    parameters = some_parameters()
    config = TrainConfig(optimiser=optimiser, learning_rate=0.1, head_learning_rate=0.7, weight_decay=0.3)
    built = build_optimiser(parameters, HEADS, config)
    set_rate(built, 0.5)
    seen = {}
    for group in built.param_groups:
        for parameter in group["params"]:
            (name,) = (key for key, value in parameters.items() if value is parameter)
            seen[name] = (group["weight_decay"], group["lr"])
    assert seen == {
        "encoder.weight": (0.3, 0.05),
        "encoder.bias": (0.0, 0.05),
        "encoder.scale": (0.0, 0.05),
        "heads.weight": (0.3, 0.35),
        "heads.b": (0.0, 0.35),
    }


def test_heads_learn_at_the_common_rate_unless_told():
    built = build_optimiser(some_parameters(), HEADS, TrainConfig(learning_rate=0.1))
    set_rate(built, 1.0)
    assert {group["lr"] for group in built.param_groups} == {0.1}


def test_only_the_decay_moves_a_matrix_without_a_gradient():
    parameters = some_parameters()
    before = {name: value.detach().clone() for name, value in parameters.items()}
    config = TrainConfig(optimiser="sgd", learning_rate=0.1, weight_decay=0.3)
    built = build_optimiser(parameters, HEADS, config)
    for value in parameters.values():
        value.grad = torch.zeros_like(value)
    built.step()
    for name, value in parameters.items():
        expected = before[name] * (1 - 0.1 * 0.3) if value.dim() > 1 else before[name]
        torch.testing.assert_close(value.detach(), expected)


CONFIGS = {
    "adamw": TrainConfig(),
    "sgd": TrainConfig(optimiser="sgd"),
    "sgd without momentum": TrainConfig(optimiser="sgd", momentum=0.0),
}


def take_steps(parameters: dict[str, nn.Parameter], optimiser, seeds: range) -> None:
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for name, value in parameters.items():
            # A parameter that some steps do not reach has younger state than the others.
            value.grad = None if name == "encoder.bias" and seed % 2 else torch.randn(value.shape, generator=generator)
        optimiser.step()


@pytest.mark.parametrize("name", sorted(CONFIGS))
@pytest.mark.parametrize("done", [0, 1, 3])
def test_the_state_comes_back_with_the_same_next_steps(name, done):
    whole = some_parameters()
    optimiser = build_optimiser(whole, HEADS, CONFIGS[name])
    take_steps(whole, optimiser, range(done))
    state = {key: value.clone() for key, value in optimiser_tensors(optimiser, whole).items()}
    again = {key: nn.Parameter(value.detach().clone()) for key, value in whole.items()}
    other = build_optimiser(again, HEADS, CONFIGS[name])
    load_optimiser_tensors(other, again, state)
    take_steps(whole, optimiser, range(done, done + 3))
    take_steps(again, other, range(done, done + 3))
    for key, value in whole.items():
        assert torch.equal(value, again[key])
    if name == "sgd without momentum" or done == 0:
        assert state == {}


def test_the_state_that_was_put_back_is_a_copy():
    parameters = some_parameters()
    optimiser = build_optimiser(parameters, HEADS, CONFIGS["adamw"])
    take_steps(parameters, optimiser, range(2))
    state = optimiser_tensors(optimiser, parameters)
    kept = {key: value.clone() for key, value in state.items()}
    again = some_parameters()
    other = build_optimiser(again, HEADS, CONFIGS["adamw"])
    load_optimiser_tensors(other, again, kept)
    before = {key: value.clone() for key, value in kept.items()}
    take_steps(again, other, range(2))
    assert all(torch.equal(kept[key], before[key]) for key in kept)
