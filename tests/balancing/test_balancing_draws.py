"""Random numbers of a sample and a step: splitmix64 in Python's integers, evenness, independence."""

import torch

from awase.balancing.draws import streams_of, uniform_of

MASK = (1 << 64) - 1


def slow_mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def slow_uniform(row: int, step: int, seed: int, stream: int) -> float:
    state = slow_mix((seed * 0x9E3779B97F4A7C15 + stream) & MASK)
    return (slow_mix(slow_mix(state ^ step) ^ row) >> 40) / (1 << 24)


def test_the_mixer_gives_the_published_sequence_of_splitmix64():
    """The first numbers of the generator with the state 1234567, as its author's C program prints them."""
    state, found = 1234567, []
    for _ in range(3):
        found.append(slow_mix(state))
        state = (state + 0x9E3779B97F4A7C15) & MASK
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_numbers_are_those_of_unsigned_integers():
    rows = torch.tensor([0, 1, 2, 997, 2**40 + 3])
    for step, seed in ((0, 0), (1, 0), (123457, 41), (7, 2**31 + 5)):
        found = uniform_of(rows, torch.tensor(step), streams_of(seed, 3))
        assert found.tolist() == [
            [slow_uniform(row, step, seed, stream) for row in rows.tolist()] for stream in range(3)
        ]


def test_numbers_are_even_and_independent():
    rows = torch.arange(20011)
    draws = torch.cat([uniform_of(rows, torch.tensor(step), streams_of(seed, 2)) for step in (0, 1) for seed in (0, 1)])
    assert float(draws.min()) >= 0
    assert float(draws.max()) < 1
    assert float((draws.mean(dim=1) - 0.5).abs().max()) < 0.01  # 5 deviations of 0.29 / sqrt(20011)
    assert float((draws.var(dim=1) - 1 / 12).abs().max()) < 0.004
    correlations = torch.corrcoef(draws) - torch.eye(8)
    assert float(correlations.abs().max()) < 0.036  # 5 deviations of 1 / sqrt(20011)
    neighbours = torch.corrcoef(torch.stack([draws[0, 1:], draws[0, :-1]]))[0, 1]
    assert abs(float(neighbours)) < 0.036
