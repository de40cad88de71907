"""Random numbers that belong to a sample and a step: the same in every order, micro-batch and process."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def uniform_of(
    rows: Int[Tensor, " rows"], step: Int[Tensor, ""], streams: Int[Tensor, " streams"]
) -> Float[Tensor, "streams rows"]:
    """A number in [0, 1) for each stream and row of a data set, from these and the step alone.

    The finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014), applied to one after the other.
    """
    state = _mixed(streams ^ step)
    bits = _shifted(_mixed(state[:, None] ^ rows), 40)
    return bits.float() * 2.0**-24  # 24 bits are a float32 exactly


def streams_of(seed: int, count: int) -> Int[Tensor, " streams"]:
    """The states from which the streams of a seed begin."""
    return _mixed(torch.tensor([_signed(seed * _GOLDEN + number) for number in range(count)]))


def _mixed(x: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    x = x + _signed(_GOLDEN)
    x = (x ^ _shifted(x, 30)) * _signed(_FIRST)
    x = (x ^ _shifted(x, 27)) * _signed(_SECOND)
    return x ^ _shifted(x, 31)


def _shifted(x: Int[Tensor, "*shape"], bits: int) -> Int[Tensor, "*shape"]:
    """`x >> bits` of the unsigned 64-bit number with the same bits."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """The signed 64-bit number with the same lowest bits."""
    low = value & ((1 << 64) - 1)
    return low - (1 << 64) if low >= 1 << 63 else low
